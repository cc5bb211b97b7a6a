//! Asking again before what is of high risk: reloads and requests of operators, with codes and without.

use std::path::PathBuf;

use motte_config::Config;
use motte_identity::{Account, Origin, Password, PasswordFile, SecondFactor};
use motte_roles::{Code, CoreAnswer, CoreRequest, Operator, StepUp, slots_said};
use motte_seal::keyring::{KeyEncryptionKey, Keyring, Slot};
use motte_seal::{SecretString, SiteKey, StoredHash};
use motte_server::Options;

use crate::harness::*;

const ONE: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"subscribe\"], topics = [\"one\"] }]\n[anonymous]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";

fn account(key: &SiteKey, second: Option<SecondFactor>) -> Account {
    let hash = StoredHash::Keyed(key.keyed(b"right"));
    Account { passwords: vec![Password::new(hash, Origin::Generated, 0)], second, ..Account::default() }
}

/// A site that asks alice for a code.
struct Asking {
    directory: tempfile::TempDir,
    second: SecondFactor,
    recovery: Vec<SecretString>,
    file: PasswordFile,
}

impl Asking {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PasswordFile::default();
        let key = file.key_or_new().unwrap().clone();
        let (second, recovery) = SecondFactor::generate(&key, 0).unwrap();
        for name in ["alice", "other"] {
            assert!(file.insert(name, account(&key, Some(second.clone()))));
        }
        let asking = Self { directory, second, recovery, file };
        asking.write("passwords", &asking.file.to_string());
        asking.write("policy.toml", ONE);
        asking
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// The same policy for another topic.
    fn permit(&self, topic: &str) {
        self.write("policy.toml", &ONE.replace("\"one\"", &format!("\"{topic}\"")));
    }

    fn config(&self) -> Config {
        let mut config = anonymous();
        config.password_file = Some(self.path("passwords"));
        config.policy_files = vec![self.path("policy.toml")];
        config.state_dir = Some(self.path("state"));
        config.control.second_factor = vec!["alice".to_owned()];
        config
    }

    fn start(&self) -> Running {
        start_with(self.config(), Options::default())
    }

    fn code(&self) -> String {
        self.second.secret.code(crate::secured::now_s() + 30)
    }
}

fn shown(account: &str, code: &str) -> StepUp {
    StepUp { account: account.to_owned(), code: Code::new(code.to_owned()) }
}

fn operator(step_up: Option<StepUp>) -> Operator {
    Operator { uid: 1_000, step_up }
}

fn refusal(answer: CoreAnswer) -> String {
    let CoreAnswer::Refused { cause } = answer else { panic!("{answer:?}") };
    cause
}

#[test]
fn another_policy_needs_a_code_that_was_not_used() {
    let asking = Asking::new();
    let running = asking.start();
    let handle = running.server.handle();
    handle.reload().unwrap();

    asking.permit("two");
    let refused = handle.reload().unwrap_err().to_string();
    assert!(refused.contains("another policy") && refused.contains("motte acl apply"), "{refused}");
    running
        .lines
        .expect("life.step_up_wanted by=\"a call\" act=\"reload with another policy\" accounts=alice");
    handle.reload_soon();
    running.lines.expect("life.step_up_wanted by=SIGHUP");
    let code = asking.code();
    for (account, code, cause) in [
        ("alice", "000", "the code is wrong"),
        ("other", code.as_str(), "second_factor does not name this account"),
        ("nobody", code.as_str(), "second_factor does not name this account"),
    ] {
        let refused = handle.reload_by("user 1", Some(shown(account, code))).unwrap_err().to_string();
        assert!(refused.contains(cause), "{refused}");
        running.lines.expect(cause);
    }
    let mut client = running.client();
    assert_eq!(client.connect("client", true), (false, 0));
    assert_eq!(client.subscribe("one", 0), 0, "what was in force stays in force");

    handle.reload_by("user 1", Some(shown("alice", &code))).unwrap();
    running
        .lines
        .expect("life.step_up_granted by=\"user 1\" act=\"reload with another policy\" account=alice");
    assert_eq!((client.subscribe("one", 0), client.subscribe("two", 0)), (0x80, 0));
    handle.reload().unwrap();

    asking.permit("three");
    let again = handle.reload_by("user 1", Some(shown("alice", &code))).unwrap_err().to_string();
    assert!(again.contains("the code was used already"), "{again}");
    let spare = asking.recovery[0].expose();
    handle.reload_by("user 1", Some(shown("alice", spare))).unwrap();
    running.stop();

    let running = asking.start();
    asking.permit("four");
    for used in [code.as_str(), spare] {
        running.server.handle().reload_by("user 1", Some(shown("alice", used))).unwrap_err();
    }
    running.lines.expect("the recovery code was used already");
    running.server.handle().reload_by("user 1", Some(shown("alice", asking.recovery[1].expose()))).unwrap();
    running.stop();
}

#[test]
fn what_would_end_the_asking_is_asked_for_too_and_other_files_are_not() {
    let mut asking = Asking::new();
    let running = asking.start();
    let handle = running.server.handle();
    let key = asking.file.key_or_new().unwrap().clone();
    asking.file.insert("device", account(&key, None));
    asking.write("passwords", &asking.file.to_string());
    handle.reload().unwrap();

    let (other, _) = SecondFactor::generate(&key, 0).unwrap();
    asking.file.account_mut("alice").unwrap().second = Some(other);
    asking.write("passwords", &asking.file.to_string());
    let refused = handle.reload().unwrap_err().to_string();
    assert!(refused.contains("other codes of alice"), "{refused}");
    asking.file.account_mut("alice").unwrap().second = None;
    asking.write("passwords", &asking.file.to_string());
    let refused = handle.reload().unwrap_err().to_string();
    assert!(refused.contains("`alice`, which has no second factor") && refused.contains("totp enrol"));
    running.stop();

    // Who is closed gives codes again with a code only; closing somebody needs none.
    let mut asking = Asking::new();
    let running = asking.start();
    for (disabled, is_asked) in [(true, false), (false, true)] {
        asking.file.account_mut("alice").unwrap().disabled = disabled;
        asking.write("passwords", &asking.file.to_string());
        let refused = running.server.handle().reload().map_err(|error| error.to_string());
        let is_refused = refused.as_ref().is_err_and(|cause| cause.contains("other codes of alice"));
        assert!(is_refused == is_asked && refused.is_err() == is_asked, "{refused:?}");
    }
    running.stop();

    let asking = Asking::new();
    let mut next = vec![asking.config(), asking.config()];
    next[0].listeners[0].all_of = Vec::new();
    next[0].sys_interval_s = 77;
    next[1].control.second_factor = Vec::new();
    let read_config: motte_server::ReadConfig = Box::new(move || next.pop().ok_or_else(String::new));
    let options = Options { read_config: Some(read_config), ..Options::default() };
    let running = start_with(asking.config(), options);
    let refused = running.server.handle().reload().unwrap_err().to_string();
    assert!(refused.contains("control changed, which needs a restart"), "{refused}");
    let refused = running.server.handle().reload().unwrap_err().to_string();
    assert!(refused.contains("another configuration"), "{refused}");
    running.stop();
}

#[test]
fn guesses_are_counted_as_those_of_a_login_and_nobody_from_afar_counts_against_operators() {
    let asking = Asking::new();
    let mut config = asking.config();
    (config.attempts.free, config.attempts.delay_base_ms) = (2, 600_000);
    let running = start_with(config, Options::default());
    asking.permit("two");
    let reload = |code: &str| {
        running
            .server
            .handle()
            .reload_by("user 1", Some(shown("alice", code)))
            .map_err(|error| error.to_string())
    };
    let refused: Vec<String> = (0..4).map(|_| reload("000").unwrap_err()).collect();
    assert!(refused[0].contains("the code is wrong") && refused[3].contains("is held"), "{refused:?}");
    assert!(reload(asking.recovery[0].expose()).unwrap_err().contains("is held"), "the right one neither");
    running.stop();
}

#[test]
fn operators_give_a_code_for_what_cannot_be_taken_back_and_not_for_the_rest() {
    let asking = Asking::new();
    let running = asking.start();
    let control = running.server.control();
    let ask = |request, step_up| control.answer(&operator(step_up), request);
    assert_eq!(
        ask(CoreRequest::SecondFactors, None),
        CoreAnswer::SecondFactors { accounts: vec!["alice".to_owned()] }
    );
    let ban = CoreRequest::Ban { subject: "192.0.2.1".into(), cause: "x".into(), for_s: 60 };
    assert_eq!(ask(ban, None), CoreAnswer::Done);
    let ban = |for_s| CoreRequest::Ban { subject: "192.0.2.1/32".into(), cause: "x".into(), for_s };
    assert_eq!(ask(ban(3_600), None), CoreAnswer::Done, "a longer one");
    let cause = refusal(ask(ban(1), None));
    assert!(cause.contains("second factor"), "a shorter one in its place lifts it: {cause}");
    let unban = || CoreRequest::Unban { subject: "192.0.2.1".into() };
    for request in [
        unban(),
        CoreRequest::Shred { device: "x".into() },
        CoreRequest::RotateDataKeys { keep_old: true },
        CoreRequest::BeginSlots,
    ] {
        let cause = refusal(ask(request, None));
        assert!(cause.contains("second factor") && cause.contains("--as ACCOUNT"), "{cause}");
    }
    let code = asking.code();
    assert_eq!(ask(unban(), Some(shown("alice", &code))), CoreAnswer::Done);
    running.lines.expect("act=\"lift the ban of 192.0.2.1\" account=alice");
    assert!(refusal(ask(CoreRequest::BeginSlots, Some(shown("alice", &code)))).contains("used already"));
    let begun = ask(CoreRequest::BeginSlots, Some(shown("alice", asking.recovery[0].expose())));
    assert!(matches!(begun, CoreAnswer::VaultChallenge { .. }), "{begun:?}");
    running.stop();
}

#[test]
fn an_account_without_a_second_factor_cannot_be_named() {
    let asking = Asking::new();
    let mut config = asking.config();
    config.control.second_factor.push("carol".to_owned());
    let fault = motte_server::check(&config, None).unwrap_err().to_string();
    assert!(fault.contains("`carol`, which has no second factor") && fault.contains("totp enrol"), "{fault}");
}

#[test]
fn slots_of_a_vault_are_taken_once_and_only_in_the_exchange_that_they_are_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.state_dir = Some(directory.path().join("state"));
    let running = start(config.clone());
    let control = running.server.control();
    let ask = |request| control.answer(&operator(None), request);
    let begin = || {
        let CoreAnswer::VaultChallenge { challenge } = ask(CoreRequest::BeginSlots) else { panic!() };
        let byte = |at: usize| u8::from_str_radix(&challenge[at * 2..at * 2 + 2], 16).unwrap();
        std::array::from_fn::<u8, 32, _>(byte)
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let said = |ring: &Keyring, challenge: &[u8; 32], step: u32| {
        let mut slots = Vec::new();
        ring.slots().iter().for_each(|slot| slot.encode(&mut slots));
        let proof = ring.proof(&slots_said(challenge, step, &slots)).unwrap();
        CoreRequest::VaultSlots { slots: hex(&slots), proof: hex(&proof) }
    };
    let mut ring = crate::authorization::keys(&config);
    let challenge = begin();
    let (key, _) = KeyEncryptionKey::recovery().unwrap();
    ring.put_slot(Slot::wrap(&key, "", ring.master()).unwrap()).unwrap();
    let with_recovery = said(&ring, &challenge, 0);
    assert_eq!(ask(with_recovery.clone()), CoreAnswer::Done);
    ring.remove_slot(key.id()).unwrap();
    assert_eq!(ask(said(&ring, &challenge, 1)), CoreAnswer::Done);
    // The vault is opened by what it was opened by before; what was recorded then does not hold any more.
    assert!(refusal(ask(with_recovery.clone())).contains("has not opened this vault"));
    assert!(refusal(ask(with_recovery.clone())).contains("no exchange of slots has begun"));
    begin();
    assert!(refusal(ask(with_recovery)).contains("has not opened this vault"), "nor in another exchange");
    let CoreAnswer::Vault { vault: Some(vault) } = ask(CoreRequest::Vault) else { panic!() };
    assert_eq!(vault.opened_by.len(), 1, "{vault:?}");
    running.stop();
}
