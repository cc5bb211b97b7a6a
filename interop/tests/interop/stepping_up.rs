//! A policy put in force by an operator of the real broker, with the second factor that the broker asks for.

use std::process::{Command, Output};

use motte_testkit::{Broker, binary, finish, wait_until};
use serde_json::Value;

use crate::site::{CONFIG, Site};

/// A site whose operator alice has a second factor that is asked for, with her secret and her recovery codes.
struct Asking {
    site: Site,
    secret: String,
    recovery: Vec<String>,
}

fn asking() -> Asking {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate(), "motte up did not stop cleanly");
    let run = |arguments: &[&str]| {
        let (good, text) = finish(Command::new(binary()).current_dir(dir.path()).arg("user").args(arguments));
        assert!(good, "{arguments:?}: {text}");
        text
    };
    run(&["add", "alice", "--generate"]);
    let told = run(&["totp", "enrol", "alice"]);
    let secret = told.split("secret=").nth(1).and_then(|rest| rest.split(['&', '\n']).next());
    let secret = secret.expect("a secret is printed").to_owned();
    let codes = told.lines().filter_map(|line| line.strip_prefix("  ").filter(|code| code.len() == 19));
    let recovery = codes.map(str::to_owned).collect();
    let config = format!("{CONFIG}[control]\nsocket = \"control.sock\"\nsecond_factor = [\"alice\"]\n");
    let broker = Broker::serve(dir.path(), &config);
    broker.event("life.admin_ready");
    Asking { site: Site { broker, dir }, secret, recovery }
}

impl Asking {
    /// The code that an authenticator shows next, by another program: those of before the start are not taken.
    fn next_code(&self) -> String {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        let mut oathtool = Command::new("oathtool");
        let next = format!("@{}", now.as_secs() + 30);
        let (good, code) = finish(oathtool.args(["--totp", "--base32", "--now", &next, &self.secret]));
        assert!(good, "{code}");
        code.trim().to_owned()
    }

    /// A verb with a code, or without one.
    fn motte(&self, arguments: &[&str], code: Option<&str>) -> (Option<i32>, String, String) {
        let mut command = Command::new(binary());
        command.current_dir(self.site.dir.path()).args(arguments).args(["--config", "motte.toml"]);
        if let Some(code) = code {
            std::fs::write(self.site.dir.path().join("code"), code).expect("the code can be written");
            command.args(["--as", "alice", "--code-file", "code"]);
        }
        command.stdin(std::process::Stdio::null());
        let Output { status, stdout, stderr } = command.output().expect("motte runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout), text(stderr))
    }

    fn policy(&self) -> String {
        std::fs::read_to_string(self.site.path("policy.toml")).expect("the policy can be read")
    }

    /// A new policy, with a role more that everybody has, for this topic.
    fn propose(&self, topic: &str) {
        let more = format!(
            "\n[role.more-{topic}]\nrules = [{{ allow = [\"subscribe\"], topics = [\"{topic}/x\"] }}]\n[identity.more-{topic}]\nroles = [\"more-{topic}\"]\n"
        );
        std::fs::write(self.site.dir.path().join("new.toml"), self.policy() + &more)
            .expect("it can be written");
    }

    fn generation(&self) -> u64 {
        let (code, text, error) = self.motte(&["status", "--json"], None);
        assert_eq!(code, Some(0), "{error}");
        let status: Value = serde_json::from_str(&text).expect("JSON");
        status.pointer("/policy/generation").and_then(Value::as_u64).expect("a number")
    }
}

const APPLY: &[&str] = &["acl", "apply", "new.toml", "--yes"];

/// Without a code exit code 1, with one in force, the same again refused.
#[test]
fn a_policy_is_put_in_force_with_a_code_and_not_without() {
    let asking = asking();
    let before = asking.policy();
    asking.propose("a");

    let (code, told, error) = asking.motte(APPLY, None);
    assert_eq!(code, Some(1), "{error}");
    assert!(told.contains("becomes permitted") && told.contains("a/x"), "{told}");
    assert!(error.contains("a code of a second factor") && error.contains("--as ACCOUNT"), "{error}");
    let (code, _, error) = asking.motte(APPLY, Some("000"));
    assert!(code == Some(1) && error.contains("the code is wrong"), "{error}");
    assert_eq!((asking.policy(), asking.generation()), (before.clone(), 1), "the old policy stays");
    let refused = asking.site.broker.event("life.step_up_refused");
    assert_eq!(
        (refused.field("account"), refused.field("by")),
        ("alice".into(), "an operator (user 0)".into())
    );

    let one = asking.next_code();
    let (code, told, error) = asking.motte(APPLY, Some(&one));
    assert_eq!(code, Some(0), "{error}");
    assert!(
        told.contains("in force; the former policy is in") && told.contains("policy.toml.before"),
        "{told}"
    );
    assert_eq!(asking.generation(), 2);
    assert_eq!(std::fs::read_to_string(asking.site.path("policy.toml.before")).expect("kept"), before);
    asking.site.broker.event("life.step_up_granted");

    asking.propose("b");
    let taken = asking.policy();
    let (code, _, error) = asking.motte(APPLY, Some(&one));
    assert!(code == Some(1) && error.contains("the code was used already"), "{error}");
    assert_eq!((asking.policy(), asking.generation()), (taken, 2));
    let (code, _, error) = asking.motte(APPLY, Some(&asking.recovery[0]));
    assert_eq!((code, asking.generation()), (Some(0), 3), "{error}");
}

#[test]
fn a_signal_does_not_put_another_policy_in_force_and_what_a_broker_refuses_is_put_back() {
    let asking = asking();
    let before = asking.policy();
    asking.propose("a");
    std::fs::copy(asking.site.dir.path().join("new.toml"), asking.site.path("policy.toml")).expect("ours");
    asking.site.broker.hang_up();
    let wanted = asking.site.broker.event("life.step_up_wanted");
    assert_eq!((wanted.field("by"), wanted.field("accounts")), ("SIGHUP".into(), "alice".into()));
    let refused = asking.site.broker.event("life.reload_refused");
    assert!(refused.field("cause").contains("motte acl apply"), "{refused:?}");
    assert_eq!(asking.generation(), 1);
    std::fs::write(asking.site.path("policy.toml"), &before).expect("ours");
    asking.site.broker.hang_up();
    wait_until("everything else is reloaded", || !asking.site.broker.events("life.reloaded").is_empty());

    // A fault of something else: the broker refuses whole.
    let passwords = asking.site.path("passwords");
    let text = std::fs::read_to_string(&passwords).expect("it can be read");
    std::fs::write(&passwords, "nonsense\n").expect("ours");
    let (code, _, error) = asking.motte(APPLY, Some(&asking.next_code()));
    assert!(code == Some(1) && error.contains("is as it was") && error.contains("passwords:1"), "{error}");
    assert_eq!(asking.policy(), before);
    std::fs::write(&passwords, text).expect("ours");

    std::fs::write(asking.site.dir.path().join("new.toml"), "version = 1\nnonsense = 1\n").expect("ours");
    let (code, _, error) = asking.motte(APPLY, None);
    assert!(code == Some(1) && error.contains("new.toml:2:1"), "{error}");
    asking.propose("c");
    let (code, _, error) = asking.motte(&["acl", "apply", "new.toml"], Some("000"));
    assert!(code == Some(3) && error.contains("nobody said yes"), "{error}");
    let (code, told, _) = asking.motte(&["acl", "apply", "new.toml", "--json"], None);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &told["in_force"]), (Some(3), &Value::from(false)));
    assert!(told["widened"].as_array().is_some_and(|rows| !rows.is_empty()), "{told}");
}

#[test]
fn bans_and_keys_ask_for_a_code_too() {
    let asking = asking();
    assert_eq!(asking.motte(&["bans", "add", "192.0.2.1"], None).0, Some(0));
    let (code, _, error) = asking.motte(&["bans", "remove", "192.0.2.1"], None);
    assert!(code == Some(1) && error.contains("--as ACCOUNT"), "{error}");
    assert_eq!(asking.motte(&["bans", "remove", "192.0.2.1"], Some(&asking.recovery[0])).0, Some(0));
    for verb in [&["rotate-kek"][..], &["rotate-dek"], &["recovery", "new"], &["shred", "device-1", "--yes"]]
    {
        let arguments = [&["vault"][..], verb].concat();
        let (code, _, error) = asking.motte(&arguments, None);
        assert!(code == Some(1) && error.contains("--as ACCOUNT"), "{arguments:?}: {error}");
    }
    // One code for the whole of it, though the slots are written twice.
    let (code, told, error) = asking.motte(&["vault", "rotate-kek"], Some(&asking.recovery[1]));
    assert!(code == Some(0) && told.contains("by the former key no more"), "{told}{error}");
    let (code, _, error) = asking.motte(&["vault", "recovery", "new"], Some(&asking.recovery[1]));
    assert!(code == Some(1) && error.contains("the recovery code was used already"), "{error}");
}
