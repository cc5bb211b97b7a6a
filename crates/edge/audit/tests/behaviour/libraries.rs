//! Libraries, their packages and who uses them.

use jiff::civil::date;
use motte_audit::{Check, Severity};

use crate::root::{BOOKWORM, FOLDER, Root};

const OF_3_0_1: &str = "OpenSSL 3.0.1 14 Dec 2021";

#[test]
fn libssl_3_0_1_is_told_with_its_path_its_version_and_the_date_of_an_advisory() {
    let root = Root::new();
    root.library("usr/local/lib/libssl.so.3", OF_3_0_1);
    let found = root.findings(Check::Vulnerable);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.severity, finding.file.as_str()), (Severity::Error, "/usr/local/lib/libssl.so.3"));
    for part in [
        "/usr/local/lib/libssl.so.3",
        "OpenSSL 3.0.1 of 2021-12-14",
        "CVE-2026-84782 (high), advisory of 2026-09-29, mended in 3.0.23",
    ] {
        assert!(finding.what.contains(part), "{part}: {}", finding.what);
    }
    let known = |id: &str| finding.details.iter().any(|detail| detail.starts_with(id));
    assert!(known("CVE-2022-3602 (high), advisory of 2022-11-01, mended in 3.0.7") && known("CVE-2022-0778"));
    assert!(!known("CVE-2021-4044"), "mended in 3.0.1: {:?}", finding.details);
    let ended = root.findings(Check::Unsupported);
    assert!(ended.len() == 1 && ended[0].what.contains("branch 3.0 ended on 2026-09-07"), "{ended:?}");
}

#[test]
fn a_library_that_is_up_to_date_is_no_finding() {
    let root = Root::new();
    root.library("opt/x/lib/libcrypto.so.3", "OpenSSL 3.5.9 29 Sep 2026");
    assert_eq!(root.audit().findings, []);
    // The day after its support.
    let late = root.audit_on(date(2030, 4, 9));
    let checks: Vec<Check> = late.findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, [Check::Unsupported, Check::TableOld]);
}

#[test]
fn places_are_looked_through_and_a_library_is_told_once() {
    let root = Root::new();
    let places = [
        "usr/lib64/libcrypto.so.3",
        "usr/lib/aarch64-linux-gnu/libcrypto.so.3",
        "opt/a/b/c/libcrypto.so.3",
        "snap/core/1/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "usr/local/lib/python3/site-packages/x.libs/libcrypto-0a1b.so.3",
    ];
    for place in places {
        root.library(place, "OpenSSL 3.5.9 29 Sep 2026");
    }
    // Other names of the same.
    root.link("lib64", "usr/lib64").link("usr/lib64/libcrypto.so", "libcrypto.so.3").link("lib", "/usr/lib");
    root.library("home/x/libcrypto.so.3", "OpenSSL 3.5.9 29 Sep 2026")
        .library("usr/lib/libssl3.so", "OpenSSL 3.0.1 14 Dec 2021");
    let mut subjects: Vec<String> = root.audit().facts.into_iter().map(|fact| fact.subject).collect();
    subjects.retain(|subject| subject.starts_with('/'));
    subjects.sort();
    let mut expected = places.map(|place| format!("/{place}"));
    expected.sort();
    assert_eq!(subjects, expected);
}

#[test]
fn a_libssl_has_the_version_of_the_libcrypto_beside_it() {
    let root = Root::new();
    root.library("opt/x/libcrypto.so.3", OF_3_0_1).file("opt/x/libssl.so.3", b"\x7fELF without a version");
    root.file("opt/y/libssl.so.3", b"\x7fELF without a version");
    let found = root.findings(Check::Vulnerable);
    assert!(
        found.len() == 1 && found[0].what.contains("/opt/x/libcrypto.so.3, /opt/x/libssl.so.3"),
        "{found:?}"
    );
    let unknown = root.findings(Check::UnknownVersion);
    assert!(unknown.len() == 1 && unknown[0].file == "/opt/y/libssl.so.3", "{unknown:?}");
}

fn bookworm(version: &str, says: &str) -> Root {
    let root = Root::new();
    let file = format!("{FOLDER}/libcrypto.so.3");
    root.library(&file, says).package("libssl3", version, &[&file]).file("etc/os-release", BOOKWORM);
    root
}

#[test]
fn what_debian_mended_is_not_held_against_its_version() {
    // 3.0.22 has CVE-2026-84782 for OpenSSL; the second revision of Debian has it no more, the first one has.
    let says = "OpenSSL 3.0.22 25 Aug 2026";
    assert_eq!(bookworm("3.0.22-1~deb12u2", says).audit().findings, []);
    let found = bookworm("3.0.22-1~deb12u1", says).findings(Check::Vulnerable);
    assert!(found.len() == 1 && found[0].what.contains("6 known vulnerabilities"), "{found:?}");
    assert!(
        found[0].what.contains("CVE-2026-84782 (high), advisory of 2026-09-29, mended in 3.0.22-1~deb12u2"),
        "{found:?}"
    );
    assert!(found[0].remedy.contains("apt-get"), "{found:?}");
}

#[test]
fn debians_support_counts_for_its_packages_and_not_that_of_the_branch() {
    let root = bookworm("3.0.22-1~deb12u2", "OpenSSL 3.0.22 25 Aug 2026");
    assert_eq!(root.checks(), []);
    let late = root.audit_on(date(2028, 7, 1));
    let ended = late.findings.iter().find(|finding| finding.check == Check::Unsupported).unwrap();
    assert!(ended.what.contains("Debian 12 (bookworm) ended on 2028-06-30"), "{ended:?}");
}

#[test]
fn a_package_of_somebody_else_cannot_be_judged_and_is_not_called_vulnerable() {
    let file = format!("{FOLDER}/libcrypto.so.3");
    let ubuntu = Root::new();
    ubuntu.library(&file, "OpenSSL 3.0.2 15 Mar 2022").package("libssl3", "3.0.2-0ubuntu1.25", &[&file]);
    ubuntu.file("etc/os-release", "ID=ubuntu\nVERSION_CODENAME=jammy\n");
    let rpm = Root::new();
    rpm.library("usr/lib64/libcrypto.so.3.0.7", "OpenSSL 3.0.7 1 Nov 2022")
        .file("var/lib/rpm/rpmdb.sqlite", "");
    let snap = Root::new();
    snap.library("snap/core22/1/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "OpenSSL 3.0.2 15 Mar 2022");
    for root in [&ubuntu, &rpm, &snap] {
        assert_eq!(root.checks(), [Check::NotJudged]);
        let found = root.findings(Check::NotJudged);
        assert!(
            found[0].severity == Severity::Note && found[0].what.contains("cannot be judged"),
            "{found:?}"
        );
    }
    // What no package brought is judged by its version, there too.
    rpm.library("opt/x/libcrypto.so.3", "OpenSSL 3.0.7 1 Nov 2022");
    assert!(rpm.checks().contains(&Check::Vulnerable));
}

#[test]
fn a_branch_that_the_table_does_not_know_is_not_called_good() {
    let root = Root::new();
    root.library("opt/x/libcrypto.so.5", "OpenSSL 5.7.0 1 Nov 2026");
    let found = root.findings(Check::NotJudged);
    assert!(found.len() == 1 && found[0].what.contains("does not know its branch"), "{found:?}");
}

#[test]
fn a_library_that_is_not_of_its_package_is_told_and_judged_by_itself() {
    let root = bookworm("3.0.22-1~deb12u2", OF_3_0_1);
    assert_eq!(root.checks(), [Check::Vulnerable, Check::Unsupported, Check::Changed]);
    let changed = root.findings(Check::Changed);
    assert!(changed[0].what.contains("is not of its package, libssl3 3.0.22-1~deb12u2"), "{changed:?}");
}

#[test]
fn who_uses_a_library_is_told_and_who_must_be_restarted() {
    let mut root = Root::new();
    root.library(&format!("{FOLDER}/libcrypto.so.3"), "OpenSSL 3.5.9 29 Sep 2026").link("lib", "usr/lib");
    let maps = |path: &str| {
        format!("7f-80 r-xp 00000000 08:01 4  {path}\n7f-80 r-xp 00000000 08:01 5  /usr/lib/libc.so.6\n")
    };
    root.process(12, "sshd", &maps("/lib/x86_64-linux-gnu/libcrypto.so.3"));
    root.process(13, "nginx", &maps("/usr/lib/x86_64-linux-gnu/libcrypto.so.3 (deleted)"));
    root.link("fake/self/ns/mnt", "mnt:[1]").link("fake/12/ns/mnt", "mnt:[1]");
    root.process(14, "cat", "7f-80 r-xp 00000000 08:01 5  /usr/lib/libc.so.6\n");
    let report = root.audit();
    let library = report.facts.iter().find(|fact| fact.subject.ends_with("libcrypto.so.3")).unwrap();
    assert_eq!(library.value("processes"), Some("sshd (12)"));
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((finding.check, finding.details.as_slice()), (Check::Restart, &["nginx (13)".to_owned()][..]));
    assert!(finding.what.contains("still used by nginx (13)"), "{finding:?}");
}

#[test]
fn processes_of_containers_use_other_files_and_are_named_apart() {
    let mut root = Root::new();
    root.library(&format!("{FOLDER}/libcrypto.so.3"), "OpenSSL 3.5.9 29 Sep 2026");
    root.link("fake/self/ns/mnt", "mnt:[1]").link("fake/20/ns/mnt", "mnt:[2]");
    root.process(20, "redis", &format!("7f-80 r-xp 00000000 08:01 4  /{FOLDER}/libcrypto.so.3\n"));
    let report = root.audit();
    assert!(report.facts.iter().all(|fact| fact.value("processes").is_none()), "{:?}", report.facts);
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!(
        (finding.check, finding.details.as_slice()),
        (Check::Elsewhere, &["redis (20)".to_owned()][..])
    );
}

#[test]
fn a_process_that_may_not_be_looked_at_is_counted() {
    let mut root = Root::new();
    root.process(7, "cat", "");
    // Maps that cannot be read as a file stand for those that may not be.
    root.file("fake/8/maps/x", "");
    let found = root.findings(Check::Incomplete);
    assert!(found.len() == 1 && found[0].what.contains("could not be looked at: 1"), "{found:?}");
}

#[test]
fn a_version_is_found_wherever_it_lies_in_a_file() {
    // The file is read in parts of 256 KiB.
    for start in [4, 262_144 - 27, 262_144 - 10, 262_144, 524_288 - 3, 1_000_000] {
        let root = Root::new();
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(start, 0);
        bytes.extend_from_slice(OF_3_0_1.as_bytes());
        bytes.resize(1_100_000, 0);
        root.file("opt/libcrypto.so.3", bytes);
        assert_eq!(root.audit().facts[1].value("version"), Some("3.0.1"), "at {start}");
    }
}
