//! `motte acl advise`: a diff that `patch` takes, with its evidence.

use std::process::{Command, Stdio};

use motte_config::Config;
use motte_roles::Passphrases;
use motte_server::kept_file::{USAGE, open_sealed};
use motte_server::vault::{self, VaultAccess};
use motte_testkit::{Broker, binary, finish};

const CONFIG: &str = r#"
state_dir = "state"
[log]
format = "json"
[policy]
files = ["policy.toml"]
record = true
[[listener]]
name = "tcp"
kind = "tcp"
bind = ["127.0.0.1:0"]
[listener.auth]
anonymous = true
"#;

const POLICY: &str = r#"version = 1
[role.device]
rules = [
    { allow = ["publish", "subscribe"], topics = ["site/#"] },
    { allow = ["publish"], topics = ["alarm/+"] },
]
[anonymous]
roles = ["device"]
"#;

/// What is in the record, which is sealed.
fn opened(dir: &std::path::Path, record: &std::path::Path) -> String {
    let config = Config { state_dir: Some(dir.join("state")), ..Config::default() };
    let access = VaultAccess::there(&config, &mut Passphrases::new(None)).unwrap().unwrap();
    let keys = vault::open(&dir.join("state"), &access).unwrap().keyring;
    let (_, text) = open_sealed(&keys, USAGE, &std::fs::read(record).unwrap()).unwrap();
    String::from_utf8(text).unwrap()
}

fn motte(dir: &std::path::Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    finish(command.current_dir(dir).args(arguments))
}

#[test]
fn what_a_broker_recorded_becomes_a_patch() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
    let broker = Broker::serve(dir.path(), CONFIG);
    let port = broker.address("tcp").port().to_string();
    for name in ["d1", "d2"] {
        let topic = format!("site/{name}/t");
        let (good, text) =
            motte(dir.path(), &["pub", "-p", &port, "-i", name, "-t", &topic, "-m", "x", "-q", "1"]);
        assert!(good, "{text}");
    }
    assert!(broker.terminate());
    let record = dir.path().join("state/usage.record");
    let advise = |since: &str| {
        motte(
            dir.path(),
            &["acl", "advise", "--policy", "policy.toml", "--from", "state/usage.record", "--since", since],
        )
    };
    let (good, text) = advise("14d");
    assert!(
        good && text.contains("not judged: 2 of the rules") && text.contains("nothing to change"),
        "{text}"
    );

    // As if it had been recorded for longer.
    let text = opened(dir.path(), &record);
    let (_, body) = text.split_once('\n').unwrap();
    let old = body.lines().map(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
        ["rule", _, rest @ ..] => format!("rule\t1\t{}\n", rest.join("\t")),
        _ => format!("{line}\n"),
    });
    let body: String = old.collect();
    let sum = crc32fast::hash(body.as_bytes());
    std::fs::write(&record, format!("motte-usage 1 {} {sum:08x}\n{body}", body.len())).unwrap();
    let (good, text) = advise("14d");
    assert!(good, "{text}");
    for part in [
        "site/{client_id}/t",
        "2 times",
        "drop it: not used in 14 days",
        "# proved: nothing",
        "policy.toml:5",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (good, json) = motte(
        dir.path(),
        &["acl", "advise", "--policy", "policy.toml", "--from", "state/usage.record", "--json"],
    );
    assert!(
        good && json.contains("\"proposal\":\"drop\"") && json.contains("\"proposal\":\"narrow\""),
        "{json}"
    );

    let mut patch = Command::new("patch");
    let mut patch =
        patch.current_dir(dir.path()).arg("-p0").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut patch.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(patch.wait().unwrap().success());
    let wanted = POLICY
        .replace(
            "[\"publish\", \"subscribe\"], topics = [\"site/#\"]",
            "[\"publish\"], topics = [\"site/{client_id}/t\"]",
        )
        .replace("    { allow = [\"publish\"], topics = [\"alarm/+\"] },\n", "");
    assert_eq!(std::fs::read_to_string(dir.path().join("policy.toml")).unwrap(), wanted);
    let (good, text) = advise("14d");
    assert!(good && text.contains("not judged"), "a rule that is new was not watched: {text}");

    std::fs::write(&record, "motte-usage 1 2 00000000\nx\n").unwrap();
    let (good, text) = advise("14d");
    assert!(!good && text.contains("it is damaged") && text.contains("remedy"), "{text}");
}
