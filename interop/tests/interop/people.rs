//! People and devices with passwords, as mosquitto's tools see them: imported hashes, exposure, rotation, codes.

use std::process::Command;
use std::time::{Duration, Instant};

use motte_testkit::{binary, finish};

use crate::site::{CONFIG, Site, here};

/// A site whose policy lets everybody with a password use `people/`.
fn site(config: &str) -> Site {
    let site = Site::start_with(config);
    let policy = site.path("policy.toml");
    let mut text = std::fs::read_to_string(&policy).expect("the policy can be read");
    text.push_str(
        "\n[role.people]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"people/#\"] }]\n[authenticated]\nroles = [\"people\"]\n",
    );
    std::fs::write(&policy, text).expect("the policy can be written");
    site
}

/// `motte user …` on the site's file.
fn user(site: &Site, arguments: &[&str], password: Option<&str>) -> String {
    let mut command = Command::new(binary());
    command.current_dir(site.dir.path()).arg("user").args(arguments);
    if let Some(password) = password {
        std::fs::write(site.dir.path().join("secret"), password).expect("the secret can be written");
        command.args(["--password-file", "secret"]);
    }
    let (good, text) = finish(&mut command);
    assert!(good, "{arguments:?}: {text}");
    text
}

fn publish(site: &Site, identity: &str, password: &str) -> bool {
    let port = site.address("tcp").port().to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-i", identity, "-u", identity, "-P", password]);
    finish(command.args(["-t", "people/x", "-m", "x", "-q", "1"])).0
}

fn reload(site: &Site) {
    let before = site.broker.events("life.reloaded").len();
    site.broker.hang_up();
    motte_testkit::wait_until("the reload is over", || site.broker.events("life.reloaded").len() > before);
}

/// A password file of mosquitto.
fn file_of(site: &Site) -> std::path::PathBuf {
    site.dir.path().join("mosquitto.passwd")
}

/// Hashes that mosquitto made are verified as they are, and put under Argon2id.
#[test]
fn hashes_that_mosquitto_made_are_taken_over() {
    let site = site(CONFIG);
    let file = file_of(&site);
    for (method, name) in [("sha512", "old"), ("sha512-pbkdf2", "newer")] {
        let mut command = Command::new("mosquitto_passwd");
        command.args(["-H", method, "-b"]);
        if name == "old" {
            command.arg("-c");
        }
        let (good, text) = finish(command.arg(&file).args([name, "what mosquitto was told"]));
        assert!(good, "{text}");
    }
    let told = user(&site, &["import", "mosquitto.passwd", "--as-they-are"], None);
    assert!(told.contains("took 2 accounts") && told.contains("2 have hashes of mosquitto"), "{told}");
    let enter = || {
        reload(&site);
        for name in ["old", "newer"] {
            assert!(publish(&site, name, "what mosquitto was told"), "{name}");
            assert!(!publish(&site, name, "what nobody was told"), "{name}");
        }
    };
    enter();
    let told = user(&site, &["strengthen"], None);
    assert!(told.contains("put 2 hashes under Argon2id"), "{told}");
    let list = user(&site, &["list", "--json"], None);
    assert!(list.contains("argon2id of sha512") && list.contains("argon2id of pbkdf2"), "{list}");
    let file = std::fs::read_to_string(site.path("passwords")).expect("the file can be read");
    for hash in std::fs::read_to_string(file_of(&site)).expect("it can be read").lines() {
        let hash = hash.rsplit('$').next().expect("a hash");
        assert!(!file.contains(hash), "the weaker hash is gone");
    }
    enter();
    assert!(user(&site, &["strengthen"], None).contains("put 0 hashes"));
}

#[test]
fn an_exposed_password_ends_a_live_connection_within_a_second_of_the_reload() {
    let site = site(CONFIG);
    user(&site, &["add", "alice"], Some("a sentence nobody says"));
    reload(&site);
    let port = site.address("tcp").port().to_string();
    let mut subscriber = Command::new("mosquitto_sub");
    subscriber.args(["-h", "127.0.0.1", "-p", &port, "-i", "alice", "-u", "alice"]);
    subscriber.args(["-P", "a sentence nobody says", "-t", "people/#"]);
    let mut subscriber = subscriber.spawn().expect("mosquitto_sub is there");
    site.broker.event("gate.authenticated");
    user(&site, &["expose", "alice"], None);
    let since = Instant::now();
    site.broker.hang_up();
    let revoked = site.broker.event("rule.revoked");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(revoked.field("identity"), "alice");
    assert_eq!(site.broker.event("device.password_exposed").field("identity"), "alice");
    subscriber.kill().expect("it can be ended");
    subscriber.wait().expect("it ends");
    assert!(!publish(&site, "alice", "a sentence nobody says"));
    user(&site, &["passwd", "alice"], Some("another sentence nobody says"));
    reload(&site);
    assert!(publish(&site, "alice", "another sentence nobody says"));
}

#[test]
fn both_passwords_of_a_rotation_are_taken_until_the_new_one_is_used() {
    let site = site(CONFIG);
    let first = user(&site, &["add", "pump", "--generate"], None);
    let first = first.lines().next().expect("the password is printed").to_owned();
    let second = user(&site, &["rotate", "pump", "--generate", "--grace", "1d"], None);
    let second = second.lines().next().expect("the password is printed").to_owned();
    reload(&site);
    assert!(publish(&site, "pump", &first) && publish(&site, "pump", &first));
    assert!(publish(&site, "pump", &second));
    assert!(!publish(&site, "pump", &first) && publish(&site, "pump", &second));
}

/// A code that another program makes is taken, once.
#[test]
fn a_code_of_oathtool_is_taken_once() {
    let both = CONFIG.to_owned() + "[listener.auth]\nall_of = [\"password\", \"totp\"]\n";
    let site = site(&both);
    user(&site, &["add", "carol"], Some("a sentence nobody says"));
    let told = user(&site, &["totp", "enrol", "carol"], None);
    let secret = told.split("secret=").nth(1).and_then(|rest| rest.split(['&', '\n']).next());
    reload(&site);
    // The next one: those that were there before the broker began may have been used.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let next = format!("@{}", now.as_secs() + 30);
    let mut oathtool = Command::new("oathtool");
    oathtool.args(["--totp", "--base32", "--now", &next, secret.expect("a secret is printed")]);
    let (good, code) = finish(&mut oathtool);
    assert!(good, "{code}");
    let both = format!("a sentence nobody says:{}", code.trim());
    assert!(publish(&site, "carol", &both));
    assert!(!publish(&site, "carol", &both), "a code is taken once");
}

#[test]
fn a_recovery_code_lets_a_client_of_any_version_in_once() {
    let both = CONFIG.to_owned() + "[listener.auth]\nall_of = [\"password\", \"totp\"]\n";
    let site = site(&both);
    user(&site, &["add", "alice"], Some("a sentence nobody says"));
    user(&site, &["add", "bob"], Some("another sentence nobody says"));
    let told = user(&site, &["totp", "enrol", "alice"], None);
    let code = told.lines().find_map(|line| line.strip_prefix("  ").filter(|code| code.len() == 19));
    let both = format!("a sentence nobody says:{}", code.expect("a recovery code is printed"));
    reload(&site);
    assert!(!publish(&site, "bob", "another sentence nobody says"), "one factor is not enough here");
    assert!(!publish(&site, "alice", "a sentence nobody says"));
    assert!(publish(&site, "alice", &both));
    assert!(!publish(&site, "alice", &both));
}

/// A foreign implementation of SCRAM comes in, and again on the live connection; a wrong password and an unknown name do not.
#[test]
fn a_python_client_proves_its_password_by_scram() {
    let site = site(CONFIG);
    user(&site, &["add", "anna,=x", "--scram"], Some("tall boat waded"));
    reload(&site);
    let port = site.address("tls").port().to_string();
    let enter = |name: &str, password: &str| {
        let mut command = Command::new("python3");
        command.arg(here("client_scram.py")).args(["localhost", &port]);
        finish(command.arg(site.path("ca.pem")).args([name, password])).1
    };
    assert!(enter("anna,=x", "tall boat waded").contains("ok"), "{}", enter("anna,=x", "tall boat waded"));
    site.broker.event_where("gate.reauthenticated", |event| event.field("identity") == "anna,=x");
    assert!(enter("anna,=x", "tall boat wader").contains("refused 0x86"));
    assert!(enter("nobody", "tall boat waded").contains("refused 0x86"));
    assert!(publish(&site, "anna,=x", "tall boat waded"), "and by sending it");
}
