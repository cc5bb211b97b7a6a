//! What the password file says, seen by clients.

use std::path::{Path, PathBuf};

use motte_access::{CompiledPolicy, PolicyGeneration};
use motte_identity::{Account, Origin, Password, PasswordFile};
use motte_seal::{HashParameters, PasswordHash, StoredHash};
use motte_server::Options;

use crate::harness::*;

/// A file on disk with a person and a device, whose password is `right`.
fn site(directory: &Path) -> (PathBuf, PasswordFile) {
    let mut file = PasswordFile::default();
    let cheap = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    file.set("person", PasswordHash::create(b"right", cheap).unwrap());
    let hash = StoredHash::Keyed(file.key_or_new().unwrap().keyed(b"right"));
    let password = Password::new(hash, Origin::Generated, 0);
    file.insert("device", Account { passwords: vec![password], ..Account::default() });
    let path = directory.join("passwords");
    std::fs::write(&path, file.to_string()).unwrap();
    (path, file)
}

fn start_at(path: PathBuf, change: impl Fn(&mut motte_config::Config)) -> Running {
    let mut config = config("");
    config.password_file = Some(path);
    change(&mut config);
    let policy = CompiledPolicy::development_allow_all(PolicyGeneration(1));
    start_with(config, Options { policy: Some(policy), ..Options::default() })
}

#[test]
fn an_exposed_or_disabled_identity_goes_at_the_reload_and_a_changed_password_lets_it_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let running = start_at(path.clone(), |_| {});
    let (mut person, mut device) = (running.client(), running.client());
    assert_eq!(person.connect_as("person", true, Some(("person", "right"))).1, 0);
    assert_eq!(device.connect_as("device", true, Some(("device", "right"))).1, 0);

    file.set("person", PasswordHash::decoy());
    file.account_mut("device").unwrap().expose();
    std::fs::write(&path, file.to_string()).unwrap();
    running.server.handle().reload().unwrap();
    assert!(device.is_closed());
    running.lines.expect("its password was exposed and has not been changed");
    assert_eq!(running.client().connect_as("device", true, Some(("device", "right"))).1, 4);
    person.send(&[0xc0, 0]);
    assert_eq!(person.packet().0, 0xd0, "a change alone disconnects nobody");

    file.account_mut("person").unwrap().disabled = true;
    std::fs::write(&path, file.to_string()).unwrap();
    running.server.handle().reload().unwrap();
    assert!(person.is_closed());
    running.lines.expect("the identity is disabled");
    running.stop();
}

#[test]
fn a_thief_goes_even_when_the_password_was_changed_before_the_reload() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let running = start_at(path.clone(), |_| {});
    let mut thief = running.client();
    assert_eq!(thief.connect_as("device", true, Some(("device", "right"))).1, 0);
    let hash = StoredHash::Keyed(file.key().unwrap().keyed(b"other"));
    let account = file.account_mut("device").unwrap();
    account.expose();
    account.set(Password::new(hash, Origin::Generated, 0));
    std::fs::write(&path, file.to_string()).unwrap();
    running.server.handle().reload().unwrap();
    assert!(thief.is_closed());
    assert_eq!(running.client().connect_as("device", true, Some(("device", "other"))).1, 0);
    running.stop();
}

#[test]
fn devices_with_generated_passwords_come_in_while_the_queue_of_checks_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let slow = HashParameters { memory_kib: 65_536, passes: 16, lanes: 1 };
    file.set("slow", PasswordHash::create(b"right", slow).unwrap());
    std::fs::write(&path, file.to_string()).unwrap();
    let running = start_at(path, |config| config.hash_queue = 1);
    let mut guessers: Vec<Client> = (0..6).map(|_| running.client()).collect();
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in ["g", "slow", "wrong"] {
        body.extend(string(text));
    }
    for client in &mut guessers {
        client.send(&packet(0x10, &body));
    }
    running.lines.expect("gate.login_queue_full");
    for number in 0..100 {
        let mut device = running.client();
        assert_eq!(device.connect_as(&format!("device-{number}"), true, Some(("device", "right"))).1, 0);
    }
    drop(guessers);
    running.stop();
}

#[test]
fn a_hash_that_needs_more_memory_than_there_is_for_checks_is_refused_with_its_identity() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let greedy = HashParameters { memory_kib: 32_768, passes: 1, lanes: 1 };
    file.set("greedy", PasswordHash::create(b"right", greedy).unwrap());
    std::fs::write(&path, file.to_string()).unwrap();
    let mut config = config("");
    config.password_file = Some(path);
    config.hash_memory_mib = 20;
    let error = motte_server::Server::start(config, Options::default()).unwrap_err().to_string();
    assert!(error.contains("`greedy` takes 32 MiB, more than hash_memory_mib"), "{error}");
    assert!(error.contains("remedy: raise hash_memory_mib"), "{error}");
}

#[test]
fn an_old_password_is_told_in_the_log_and_in_connack() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    file.account_mut("person").unwrap().passwords[0].created_s = now_s - 95 * 86_400;
    std::fs::write(&path, file.to_string()).unwrap();
    let running = start_at(path, |config| config.passwords.profile = motte_config::PasswordProfile::CLASSIC);
    let mut client = running.client();
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc2, 0, 60, 0];
    for text in ["person", "person", "right"] {
        body.extend(string(text));
    }
    client.send(&packet(0x10, &body));
    let (first, body) = client.packet();
    assert_eq!((first, body[1]), (0x20, 0));
    assert!(String::from_utf8_lossy(&body).contains("must be changed within 9 days"));
    running.lines.expect("gate.password_ageing");
    running.stop();
}

#[test]
fn an_exposed_password_is_said_at_each_start_and_reload() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    file.account_mut("person").unwrap().expose();
    std::fs::write(&path, file.to_string()).unwrap();
    let running = start_at(path, |_| {});
    running.lines.expect("device.password_exposed");
    running.stop();
}

#[test]
fn a_code_and_a_recovery_code_are_taken_once_even_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let (second, recovery) = motte_identity::SecondFactor::generate(file.key().unwrap(), 0).unwrap();
    file.account_mut("person").unwrap().second = Some(second.clone());
    std::fs::write(&path, file.to_string()).unwrap();
    let store = directory.path().join("store");
    let begin = || {
        start_at(path.clone(), |config| {
            config.state_dir = Some(store.clone());
            let listener = &mut config.listeners[0];
            listener.all_of = vec![motte_config::AuthMethod::Password, motte_config::AuthMethod::Totp];
        })
    };
    let enter = |running: &Running, name: &str, password: &str| {
        running.client().connect_as(name, true, Some((name, password))).1
    };
    let running = begin();
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let code = format!("right:{}", second.secret.code(now_s + 30));
    assert_eq!(enter(&running, "person", "right"), 4);
    running.lines.expect("the code is missing");
    assert_eq!(enter(&running, "device", "right"), 4, "it has no second factor");
    assert_eq!(enter(&running, "person", &code), 0);
    running.lines.expect("method=password+totp");
    assert_eq!(enter(&running, "person", &code), 4);
    running.lines.expect("the code was used already");
    running.server.handle().reload().unwrap();
    assert_eq!(enter(&running, "person", &code), 4, "nor after a reload");
    let spare = format!("right:{}", recovery[0].expose());
    assert_eq!(enter(&running, "person", &spare), 0);
    assert_eq!(enter(&running, "person", &spare), 4);
    running.stop();
    let running = begin();
    assert_eq!(enter(&running, "person", &spare), 4);
    running.lines.expect("the recovery code was used already");
    assert_eq!(enter(&running, "person", &format!("right:{}", recovery[1].expose())), 0);
    running.stop();
}

#[test]
fn the_old_password_of_a_rotation_stays_over_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let hash = StoredHash::Keyed(file.key().unwrap().keyed(b"new"));
    file.account_mut("device").unwrap().rotate(Password::new(hash, Origin::Generated, 0), u64::MAX);
    std::fs::write(&path, file.to_string()).unwrap();
    let store = directory.path().join("store");
    let begin = || start_at(path.clone(), |config| config.state_dir = Some(store.clone()));
    let enter = |running: &Running, password: &str| {
        running.client().connect_as("device", true, Some(("device", password))).1
    };
    let running = begin();
    assert_eq!(enter(&running, "right"), 0);
    assert_eq!(enter(&running, "new"), 0);
    assert_eq!(enter(&running, "right"), 4);
    running.stop();
    let running = begin();
    assert_eq!((enter(&running, "right"), enter(&running, "new")), (4, 0));
    running.stop();
}

/// CONNECT (5.0) by the method `TOTP`, with a password.
fn connect_by_totp(client: &mut Client, method: &str) {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc2, 0, 60];
    let mut property = vec![0x15];
    property.extend(string(method));
    body.push(u8::try_from(property.len()).unwrap());
    body.extend(property);
    for text in ["person", "person", "right"] {
        body.extend(string(text));
    }
    client.send(&packet(0x10, &body));
}

/// AUTH 0x18 with a code.
fn send_code(client: &mut Client, code: &str) {
    let mut properties = vec![0x15];
    properties.extend(string("TOTP"));
    properties.push(0x16);
    properties.extend(string(code));
    let mut body = vec![0x18, u8::try_from(properties.len()).unwrap()];
    body.extend(properties);
    client.send(&packet(0xf0, &body));
}

#[test]
fn a_code_may_come_in_an_exchange_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let (second, _) = motte_identity::SecondFactor::generate(file.key().unwrap(), 0).unwrap();
    file.account_mut("person").unwrap().second = Some(second.clone());
    std::fs::write(&path, file.to_string()).unwrap();
    let store = directory.path().join("store");
    let running = start_at(path, |config| config.state_dir = Some(store.clone()));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (code, taken) in [("000000x", false), (second.secret.code(now_s + 30).as_str(), true)] {
        let mut client = running.client();
        connect_by_totp(&mut client, "TOTP");
        let (first, body) = client.packet();
        assert_eq!((first, body[0]), (0xf0, 0x18), "AUTH asks for the code");
        send_code(&mut client, code);
        let (first, body) = client.packet();
        assert_eq!((first, body[1]), (0x20, if taken { 0 } else { 0x86 }));
    }
    let mut client = running.client();
    connect_by_totp(&mut client, "KERBEROS");
    assert_eq!(client.packet().1[1], 0x8c);
    running.stop();
}

#[test]
fn whose_account_ends_goes_at_that_time_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = site(directory.path());
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    file.account_mut("device").unwrap().expires_s = Some(now_s + 3);
    std::fs::write(&path, file.to_string()).unwrap();
    let running = start_at(path, |_| {});
    let (mut person, mut device) = (running.client(), running.client());
    assert_eq!(person.connect_as("person", true, Some(("person", "right"))).1, 0);
    assert_eq!(device.connect_as("device", true, Some(("device", "right"))).1, 0);
    assert!(device.is_closed());
    running.lines.expect("the identity has expired");
    assert_eq!(running.client().connect_as("device", true, Some(("device", "right"))).1, 4);
    person.send(&[0xc0, 0]);
    assert_eq!(person.packet().0, 0xd0);
    running.stop();
}

#[test]
fn a_password_file_that_others_can_change_is_refused_and_one_they_can_read_is_told_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = site(directory.path());
    let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o620, 0o602, 0o666] {
        set(mode);
        let mut config = config("");
        config.password_file = Some(path.clone());
        let error = motte_server::Server::start(config, Options::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("(mode {mode:04o})")), "{error}");
        assert!(error.contains(&format!("remedy: chmod go-w {}", path.display())), "{error}");
    }
    set(0o644);
    let running = start_at(path.clone(), |_| {});
    running.lines.expect("device.password_file_open");
    running.lines.expect("chmod o= ");
    set(0o640);
    running.server.handle().reload().unwrap();
    set(0o660);
    assert!(running.server.handle().reload().is_err());
    running.stop();
}
