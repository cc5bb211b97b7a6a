//! Trees of somebody who wants the audit to read elsewhere, to wait, or to have no end.

use std::os::unix::fs::PermissionsExt;

use motte_audit::{Audit, AuditError, Check, Host};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::root::{FOLDER, Root, TODAY};

#[test]
fn links_do_not_lead_out_of_the_root() {
    let outside = Root::new();
    outside
        .library("libcrypto.so.3", "OpenSSL 3.0.1 14 Dec 2021")
        .file("openssl.cnf", "openssl_conf = x\n[x\n");
    let root = Root::new();
    let there = outside.path().to_str().unwrap();
    root.link("usr/lib/libcrypto.so.3", &format!("{there}/libcrypto.so.3"));
    root.link("opt/lib", there).link("usr/local", there).link("lib64", "../../../../../../../../../../..");
    root.link("etc/ssl/openssl.cnf", &format!("{there}/openssl.cnf"));
    let report = root.audit();
    assert_eq!(report.findings, []);
    assert!(report.facts.iter().all(|fact| !fact.subject.starts_with('/')), "{:?}", report.facts);
}

#[test]
fn loops_of_links_and_of_includes_end() {
    let root = Root::new();
    root.link("usr/lib/libssl.so.3", "libssl.so.2").link("usr/lib/libssl.so.2", "libssl.so.3");
    root.link("usr/lib/a/b", "../../lib").link("opt", "usr/lib/a").link("lib", "lib");
    root.file("etc/ssl/openssl.cnf", ".include /etc/ssl/openssl.cnf\n.include /etc/ssl\n");
    let checks = root.checks();
    assert_eq!(checks, [Check::Incomplete], "{:?}", root.audit().findings);
}

#[test]
fn a_configuration_without_end_is_read_up_to_a_bound_and_told_of() {
    let many = |line: fn(usize) -> String| (0..15_000).map(line).collect::<String>();
    for text in [
        many(|_| "x\n".to_owned()),
        many(|at| format!("{at}=\n")),
        many(|_| ".include /etc/ssl/more\n".to_owned()),
        many(|_| ".include /etc/ssl/openssl.cnf\n".to_owned()),
    ] {
        let root = Root::new();
        root.file("etc/ssl/openssl.cnf", &text).file("etc/ssl/more", "");
        let told = root.findings(Check::Incomplete);
        let of_bounds = told.iter().filter(|one| one.what.contains("bounds of the audit")).count();
        // Each file that is too deep is told of, and there are at most so many files.
        assert!((1..=257).contains(&of_bounds), "{of_bounds} for {:?}", text.lines().next());
        assert!(root.audit().findings.len() <= 10_001, "{:?}", text.lines().next());
    }
}

#[test]
fn pipes_folders_and_files_of_other_kinds_are_not_waited_for() {
    let root = Root::new();
    root.file("usr/lib/libssl.so.9/x", "")
        .file("usr/lib/libcrypto.so", "INPUT(libcrypto.so.3)\n")
        .file("usr/lib/libssl.so", "");
    let pipe = root.path().join("usr/lib/libcrypto.so.8");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    root.file("etc/ssl/x", "");
    mknodat(CWD, root.path().join("etc/ssl/openssl.cnf"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(root.checks(), [Check::Incomplete]);
    assert!(root.findings(Check::Incomplete)[0].what.contains("/etc/ssl/openssl.cnf"));
}

#[test]
fn a_huge_library_is_read_up_to_a_bound_and_told_of() {
    let root = Root::new();
    root.file("opt/libcrypto.so.3", b"\x7fELF");
    let file = std::fs::File::options().write(true).open(root.path().join("opt/libcrypto.so.3")).unwrap();
    file.set_len(200 * 1_024 * 1_024 * 1_024).unwrap();
    let found = root.findings(Check::Incomplete);
    assert!(found.len() == 1 && found[0].what.contains("larger than 67108864 bytes"), "{found:?}");
}

#[test]
fn more_libraries_than_the_bound_and_deeper_folders_are_told_of_or_left() {
    let root = Root::new();
    for number in 0..1_001 {
        root.file(&format!("opt/many/libssl.so.{number}"), b"\x7fELF");
    }
    root.library("usr/lib/1/2/3/4/5/libssl.so.3", "OpenSSL 3.0.1 14 Dec 2021");
    let found = root.findings(Check::Incomplete);
    assert!(found.len() == 1 && found[0].what.contains("bounds of the audit"), "{found:?}");
    assert_eq!(root.findings(Check::Vulnerable), []);
}

#[test]
fn garbage_in_the_files_of_dpkg_is_left_out() {
    let root = Root::new();
    let file = format!("{FOLDER}/libcrypto.so.3");
    root.library(&file, "OpenSSL 3.0.22 25 Aug 2026").package("libssl3", "3.0.22-1~deb12u2", &[&file]);
    let status = root.path().join("var/lib/dpkg/status");
    let good = std::fs::read(&status).unwrap();
    let bad = [&b"\xff\0\x01::\n\nPackage: ../../../../etc/shadow\nStatus: install ok installed\nVersion: 1\n\nPackage:\nVersion: \xfe\n\n"[..], &good].concat();
    std::fs::write(&status, bad).unwrap();
    root.file(
        "var/lib/dpkg/info/libssl3:amd64.list",
        [&[0xff; 5_000][..], b"\n/", file.as_bytes(), b"\n\n"].concat(),
    );
    assert_eq!(root.audit().findings, []);
    std::fs::write(&status, vec![0xff; 100_000]).unwrap();
    // Nothing is known of a package any more, so the library is whoever's it says.
    assert_eq!(root.checks(), [Check::Vulnerable, Check::Unsupported]);
}

#[test]
fn a_status_that_is_too_large_means_that_nothing_is_judged_by_its_version() {
    let root = Root::new();
    let file = format!("{FOLDER}/libcrypto.so.3");
    root.library(&file, "OpenSSL 3.0.22 25 Aug 2026").package("libssl3", "3.0.22-1~deb12u2", &[&file]);
    let status = std::fs::File::options().write(true).open(root.path().join("var/lib/dpkg/status")).unwrap();
    status.set_len(100 * 1_024 * 1_024).unwrap();
    assert_eq!(root.checks(), [Check::NotJudged, Check::Incomplete]);
}

#[test]
fn what_may_not_be_read_is_told_of() {
    let root = Root::new();
    root.library("opt/x/libcrypto.so.3", "OpenSSL 3.0.1 14 Dec 2021").file("opt/y/z", "");
    let forbid = |path: &str| {
        let path = root.path().join(path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        std::fs::File::open(&path).is_err()
    };
    let is_kept = forbid("opt/x/libcrypto.so.3") && forbid("opt/y");
    let checks = root.checks();
    // The superuser reads everything: then the library must be judged.
    let expected =
        if is_kept { vec![Check::Incomplete] } else { vec![Check::Vulnerable, Check::Unsupported] };
    assert_eq!(checks, expected);
    std::fs::set_permissions(root.path().join("opt/y"), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_root_that_is_not_there_is_an_error_with_its_path() {
    let host = Host { root: "/nonexistent/root".into(), proc: None };
    let error = Audit::HostOpenssl.run(&host, TODAY).unwrap_err();
    assert!(
        matches!(error, AuditError::Root(_)) && error.to_string().contains("/nonexistent/root"),
        "{error}"
    );
}
