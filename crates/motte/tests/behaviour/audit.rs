//! `motte audit`: what it writes for people, programs and code scanning, and its exit code.

use std::path::Path;
use std::process::{Command, Output};

use motte_testkit::binary;
use serde_json::Value;

fn motte(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("audit").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A tree with a library of 3.0.1 and a configuration that permits old protocols.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "usr/local/lib/libssl.so.3", b"\x7fELF\0OpenSSL 3.0.1 14 Dec 2021\0");
    let conf = b"openssl_conf = i\n[i]\nssl_conf = t\n[t]\nsystem_default = s\n[s]\nMinProtocol = TLSv1\n";
    put(dir.path(), "etc/ssl/openssl.cnf", conf);
    dir
}

#[test]
fn the_audits_are_named() {
    let listed = motte(&["list"]);
    assert!(listed.status.success() && text(&listed).starts_with("host.openssl "), "{listed:?}");
    let json: Value = serde_json::from_str(&text(&motte(&["list", "--json"]))).unwrap();
    assert_eq!(json[0]["audit"], "host.openssl");
}

#[test]
fn a_vulnerable_library_is_told_to_people_with_what_to_do() {
    let dir = tree();
    let root = dir.path().to_str().unwrap();
    let found = motte(&["host.openssl", "--root", root]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let text = text(&found);
    for part in [
        "error    /usr/local/lib/libssl.so.3  openssl.vulnerable",
        "/usr/local/lib/libssl.so.3 (OpenSSL 3.0.1 of 2021-12-14)",
        "advisory of ",
        "more, which --json lists",
        "warning  /etc/ssl/openssl.cnf:7  openssl.min_protocol",
        "  remedy: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let accepted = motte(&["host.openssl", "--root", root, "--fail-on", "never"]);
    assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
}

#[test]
fn programs_get_everything_as_json_and_code_scanning_as_sarif() {
    let dir = tree();
    let root = dir.path().to_str().unwrap();
    let json: Value =
        serde_json::from_str(&text(&motte(&["host.openssl", "--root", root, "--json"]))).unwrap();
    assert_eq!(json["audit"], "host.openssl");
    let findings = json["findings"].as_array().unwrap();
    let vulnerable = findings.iter().find(|finding| finding["check"] == "openssl.vulnerable").unwrap();
    assert_eq!(vulnerable["file"], "/usr/local/lib/libssl.so.3");
    let details = vulnerable["details"].as_array().unwrap();
    assert!(
        details.iter().any(|detail| detail.as_str().unwrap().starts_with("CVE-2022-3602 (high)")),
        "{details:?}"
    );
    assert!(
        json["facts"].as_array().unwrap().iter().any(|fact| fact["values"]["version"] == "3.0.1"),
        "{json}"
    );

    let sarif: Value =
        serde_json::from_str(&text(&motte(&["host.openssl", "--root", root, "--sarif"]))).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(
        (&sarif["version"], &run["tool"]["driver"]["name"]),
        (&Value::from("2.1.0"), &Value::from("motte audit host.openssl"))
    );
    for result in run["results"].as_array().unwrap() {
        let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
    }
}

#[test]
fn an_empty_tree_has_no_error_and_a_missing_one_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let empty = motte(&["host.openssl", "--root", dir.path().to_str().unwrap()]);
    assert_eq!(empty.status.code(), Some(0), "{empty:?}");
    let missing = motte(&["host.openssl", "--root", "/nonexistent/root"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("remedy: "), "{missing:?}");
}

#[test]
fn names_of_strangers_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "opt/\u{1b}[31m\nevil/libssl.so.3", b"\x7fELF\0OpenSSL 3.0.1 14 Dec 2021\0");
    let found = text(&motte(&["host.openssl", "--root", dir.path().to_str().unwrap()]));
    assert!(found.contains("evil/libssl.so.3") && !found.contains('\u{1b}'), "{found}");
}
