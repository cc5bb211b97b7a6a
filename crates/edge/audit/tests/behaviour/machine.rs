//! The machine that the tests run on, whatever it has.

use std::path::Path;
use std::process::Command;

use motte_audit::openssl::debian::DebianVersion;
use motte_audit::{Audit, Host};

use crate::root::TODAY;

#[test]
fn the_machine_itself_is_looked_at_and_openssl_agrees_with_a_version_that_was_found() {
    let report = Audit::HostOpenssl.run(&Host::at(Path::new("/")), TODAY).unwrap();
    assert_eq!(report.facts[0].subject, "table of advisories");
    for finding in &report.findings {
        assert!(finding.remedy.len() >= 8 && finding.file.starts_with('/'), "{finding:?}");
    }
    // One that was built with the library in it, or that lies in somebody's home, says nothing of the host.
    let shell = |script: &str| Command::new("sh").args(["-c", script]).output().unwrap().stdout;
    let linked = String::from_utf8_lossy(&shell("ldd \"$(command -v openssl)\" 2>&1")).into_owned();
    let library = linked
        .lines()
        .find_map(|line| line.trim().strip_prefix("libcrypto.so")?.split_once("=> "))
        .map(|(_, path)| path);
    let is_looked_at =
        |path: &&str| ["/lib", "/usr/lib", "/usr/local", "/opt"].iter().any(|place| path.starts_with(place));
    if !library.as_ref().is_some_and(is_looked_at) {
        return;
    }
    // OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)
    let text = String::from_utf8_lossy(&shell("openssl version")).into_owned();
    let library = text.split("Library: ").nth(1).unwrap_or(&text);
    let version = library.strip_prefix("OpenSSL ").and_then(|rest| rest.split([' ', '-']).next());
    let Some(version) = version else { return };
    let found: Vec<Option<&str>> = report.facts.iter().map(|fact| fact.value("version")).collect();
    assert!(found.contains(&Some(version)), "{version} is not among {found:?}");
}

#[test]
fn revisions_are_in_the_order_that_dpkg_says() {
    let versions = [
        "1.0",
        "1.0~",
        "1.0~~a",
        "1.0a",
        "1.0+b",
        "1.0-1",
        "1.0-1~deb12u1",
        "1.0-1+deb12u1",
        "1.01",
        "1.10",
        "1.0-1.1",
        "3.0.9-1",
        "3.0.19-1~deb12u2",
        "3.0.19-1~deb12u10",
        "3.0.22-1~deb12u1",
        "1:0",
        "2.0-0ubuntu1",
    ];
    let is_less = |a: &str, b: &str| {
        Command::new("dpkg")
            .args(["--compare-versions", a, "lt", b])
            .status()
            .ok()
            .map(|status| status.success())
    };
    for a in versions {
        for b in versions {
            let Some(expected) = is_less(a, b) else { return };
            let (ours_a, ours_b) = (DebianVersion::parse(a).unwrap(), DebianVersion::parse(b).unwrap());
            assert_eq!(ours_a < ours_b, expected, "{a} < {b}");
        }
    }
}
