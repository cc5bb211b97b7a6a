//! What `openssl.cnf` has in force.

use motte_audit::{Check, Severity};

use crate::root::Root;

const HEAD: &str = "openssl_conf = init\n[init]\nproviders = prov\nssl_conf = tls\n[prov]\ndefault = dflt\nlegacy = old\n[dflt]\nactivate = 1\n[tls]\nsystem_default = sys\n";

fn with(rest: &str) -> Root {
    let root = Root::new();
    root.file("etc/ssl/openssl.cnf", format!("{HEAD}{rest}"));
    root
}

/// The line of the first of these words.
fn line_of(text: &str, word: &str) -> usize {
    let whole = format!("{HEAD}{text}");
    whole.lines().position(|line| line.contains(word)).unwrap() + 1
}

#[test]
fn a_configuration_of_a_careful_operator_is_no_finding() {
    let root = with(
        "[sys]\nMinProtocol = TLSv1.2\nMinProtocol.DTLS = x\nCipherString = DEFAULT:!aNULL:!MD5@SECLEVEL=2\nOptions = PrioritizeChaCha\n",
    );
    assert_eq!(root.audit().findings, []);
}

#[test]
fn each_weakness_is_told_with_its_file_and_line() {
    let rows = [
        ("[sys]\nMinProtocol = TLSv1.1\n", "MinProtocol", Check::MinProtocol, Severity::Warning),
        ("[sys]\nminprotocol = None\n", "minprotocol", Check::MinProtocol, Severity::Warning),
        ("[sys]\n1.MinProtocol = DTLSv1\n", "DTLSv1", Check::MinProtocol, Severity::Warning),
        ("[sys]\nProtocol = -ALL,+TLSv1\n", "Protocol", Check::MinProtocol, Severity::Warning),
        ("[sys]\nCipherString = DEFAULT@SECLEVEL=1\n", "SECLEVEL", Check::SecurityLevel, Severity::Warning),
        ("[sys]\nCipherString = DEFAULT:@SECLEVEL=0\n", "SECLEVEL", Check::SecurityLevel, Severity::Error),
        ("[sys]\nCipherString = HIGH:eNULL\n", "eNULL", Check::WeakCiphers, Severity::Warning),
        ("[sys]\nCipherString = ALL:+RC4\n", "RC4", Check::WeakCiphers, Severity::Warning),
        (
            "[sys]\nOptions = NoTicket, UnsafeLegacyRenegotiation\n",
            "Unsafe",
            Check::UnsafeRenegotiation,
            Severity::Warning,
        ),
        (
            "[sys]\nOptions = +unsafelegacyserverconnect\n",
            "unsafe",
            Check::UnsafeRenegotiation,
            Severity::Warning,
        ),
        ("[old]\nactivate = 1\n", "[old]", Check::LegacyProvider, Severity::Warning),
        ("[old]\nactivate = no\n", "[old]", Check::LegacyProvider, Severity::Note),
    ];
    for (text, word, check, severity) in rows {
        let found = with(text).audit().findings;
        let [finding] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert_eq!(
            (finding.check, finding.severity, finding.file.as_str()),
            (check, severity, "/etc/ssl/openssl.cnf"),
            "{text}"
        );
        let line = line_of(text, word) + usize::from(word == "[old]");
        assert_eq!(finding.line, line, "{text}: {finding:?}");
    }
}

#[test]
fn what_nothing_leads_to_and_what_is_set_again_does_not_count() {
    for text in [
        "[elsewhere]\nMinProtocol = TLSv1\n[old]\nnote = 1\n",
        "[sys]\nMinProtocol = TLSv1\nMinProtocol = TLSv1.2\n",
        "[sys]\nOptions = -UnsafeLegacyRenegotiation\n",
        "# [sys]\n# MinProtocol = TLSv1\n",
    ] {
        assert_eq!(with(text).audit().findings, [], "{text}");
    }
    let root = Root::new();
    root.file("etc/ssl/openssl.cnf", "[sys]\nMinProtocol = TLSv1\n[legacy_sect]\nactivate = 1\n");
    assert_eq!(root.audit().findings, []);
}

#[test]
fn includes_are_followed_below_the_root_and_name_their_own_file() {
    let root = with(".include = /etc/ssl/conf.d\n.include /etc/missing.cnf\n.include $dir/x.cnf\n");
    root.file("etc/ssl/conf.d/weak.cnf", "# one\n[sys]\nMinProtocol = SSLv3\n")
        .file("etc/ssl/conf.d/readme", "[sys]\nCipherString = eNULL\n");
    let found = root.audit().findings;
    let told: Vec<(Check, &str, usize)> =
        found.iter().map(|one| (one.check, one.file.as_str(), one.line)).collect();
    let base = HEAD.lines().count();
    assert_eq!(
        told,
        [
            (Check::MinProtocol, "/etc/ssl/conf.d/weak.cnf", 3),
            (Check::Incomplete, "/etc/ssl/openssl.cnf", base + 2),
            (Check::ConfigFault, "/etc/ssl/openssl.cnf", base + 3),
        ]
    );
}

#[test]
fn one_file_by_two_names_is_told_once_and_a_variable_is_not_judged() {
    let root = with("[sys]\nCipherString = $weak\n");
    root.link("usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf");
    assert_eq!(root.checks(), [Check::ConfigFault]);
    assert_eq!(root.findings(Check::ConfigFault).len(), 1);
}
