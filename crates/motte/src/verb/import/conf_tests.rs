//! Whole configurations.

use motte_config::Config;

use super::*;

/// The files that a configuration becomes, read by our own reader, and the report.
fn converted(text: &str, more: &[(&str, &str)], keep_open: bool) -> (Vec<Written>, Config, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mosquitto.conf");
    std::fs::write(&file, text).unwrap();
    for (name, text) in more {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut report = Report::default();
    let files = convert(&Conf::read(&file).unwrap(), keep_open, &mut report).unwrap();
    let config = motte_config::parse(&files[0].text, "motte.toml", jiff::civil::date(2026, 1, 1));
    let config = config.unwrap_or_else(|faults| panic!("{faults}\n{}", files[0].text));
    for policy in files.iter().filter(|file| file.name.starts_with("policy")) {
        motte_access::Policy::parse(&policy.text, "p")
            .unwrap_or_else(|fault| panic!("{fault}\n{}", policy.text));
    }
    (files, config, report.to_string())
}

fn says(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "{part} is not in:\n{report}");
    }
}

#[test]
fn an_empty_one_is_for_this_machine_and_permits_nothing() {
    let (files, config, report) = converted("", &[], false);
    assert!(
        config.listeners[0].anonymous
            && config.listeners[0].bind.iter().all(motte_config::Endpoint::is_local)
    );
    assert!(!files[1].text.contains("\n[anonymous]"), "{}", files[1].text);
    says(&report, &["without acl_file every client", "nothing is permitted until you write rules"]);
    let (files, ..) = converted("", &[], true);
    assert!(files[1].text.contains("\n[anonymous]"), "{}", files[1].text);
}

#[test]
fn a_listener_in_the_clear_becomes_one_of_this_machine() {
    let text =
        "listener 1883\nallow_anonymous true\nacl_file acl\nconnection cloud\naddress x:1883\ntopic # both\n";
    let (_, config, report) = converted(text, &[("acl", "topic #\n")], false);
    assert_eq!(config.listeners.len(), 1);
    assert!(config.listeners[0].bind.iter().all(motte_config::Endpoint::is_local));
    says(
        &report,
        &[
            "in the clear on the network",
            "whoever reaches it is let in",
            "the bridge cloud",
            "`#` may write to branches of everybody",
        ],
    );
}

#[test]
fn tls_certificates_and_limits_are_taken() {
    let text = "per_listener_settings false\nmax_inflight_messages 20\nmax_queued_messages 1000\nmax_packet_size 500\nmax_keepalive 120\npersistent_client_expiration 14d\npersistence true\nsys_interval 10\nlistener 8883\ncertfile /c/server.pem\nkeyfile /c/server.key\ncafile /c/ca.pem\ntls_version tlsv1.3\nrequire_certificate true\nuse_identity_as_username true\nmax_qos 1\nlistener 9001 127.0.0.1\nprotocol websockets\nlistener 0 /run/m.sock\nallow_anonymous false\npassword_file pw\nacl_file acl\n";
    let more =
        [("pw", "a:$7$101$c2FsdA==$aGFzaA==\n"), ("acl", "user a\ntopic read x\npattern readwrite %u/#\n")];
    let (files, config, report) = converted(text, &more, false);
    let names: Vec<(&str, &str)> =
        config.listeners.iter().map(|one| (one.name.as_str(), one.kind.name())).collect();
    assert_eq!(names, [("tls-8883", "tls"), ("ws-9001", "ws"), ("unix", "unix")]);
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.versions, [motte_config::TlsVersion::V13]);
    assert_eq!(config.listeners[0].methods, [motte_config::AuthMethod::Certificate]);
    assert_eq!(config.listeners[0].limits.maximum_qos, 1);
    let limits = &config.limits;
    assert_eq!((limits.receive_maximum, limits.inflight_out_max, limits.packet_bytes_max), (20, 20, 1_024));
    assert_eq!((limits.keep_alive_s_max, limits.session_expiry_s_max), (120, 1_209_600));
    assert!(config.state_dir.is_some());
    let policy = files.iter().find(|file| file.name == "policy.toml").unwrap();
    assert!(policy.text.contains("[authenticated]\nroles = [\"patterns\"]"), "{}", policy.text);
    says(&report, &["without a revocation list", "max_packet_size 500 is 1024 here", "mosquitto.db"]);
}

#[test]
fn listeners_with_settings_of_their_own_keep_them_apart() {
    let text = "per_listener_settings true\nlistener 1883 127.0.0.1\npassword_file one\nacl_file a\nlistener 1884 127.0.0.1\npassword_file two\nallow_anonymous true\nacl_file b\nlistener 1885 127.0.0.1\nmount_point site/\n";
    let hash = "$7$101$c2FsdA==$aGFzaA==";
    let (one, two) = (format!("x:{hash}\n"), format!("y:{hash}\n"));
    let more = [("one", one.as_str()), ("two", &two), ("a", "pattern %u/#\n"), ("b", "pattern read %u/#\n")];
    let (files, config, report) = converted(text, &more, false);
    assert_eq!(config.listeners.len(), 2);
    let policy = |name: &str| &files.iter().find(|file| file.name == name).unwrap().text;
    let (a, b) = (policy("policy-tcp-1883.toml"), policy("policy-tcp-1884.toml"));
    assert!(
        a.contains("[identity.\"x\"]") && !a.contains("[identity.\"y\"]") && !a.contains("[authenticated]"),
        "{a}"
    );
    assert!(b.contains("[identity.\"y\"]") && !b.contains("[identity.\"x\"]"), "{b}");
    says(&report, &["mount_point is left out", "clients without a password are refused here"]);
}

#[test]
fn a_plugin_opens_nothing_even_when_asked_to() {
    let (files, _, report) =
        converted("plugin /x.so\nlistener 1883 127.0.0.1\nallow_anonymous true\n", &[], true);
    assert!(!files[1].text.contains("everything\""), "{}", files[1].text);
    says(&report, &["what it permits and denies is not known here"]);
}

#[test]
fn a_directory_that_cannot_be_read_is_no_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mosquitto.conf");
    std::fs::write(&file, "include_dir conf.d\n").unwrap();
    let fault = Conf::read(&file).unwrap_err().to_string();
    assert!(fault.contains("conf.d, which include_dir names") && fault.contains("remedy:"), "{fault}");
}
