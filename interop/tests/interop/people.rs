//! People and devices with passwords, as mosquitto's tools see them: imported hashes, exposure, rotation, codes.

use std::process::Command;
use std::time::{Duration, Instant};

use motte_testkit::{binary, finish};

use crate::site::{CONFIG, Site};

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

/// PRACTICES.md, P04: hashes that mosquitto made are verified as they are.
#[test]
fn hashes_that_mosquitto_made_are_taken_over() {
    let site = site(CONFIG);
    let file = site.dir.path().join("mosquitto.passwd");
    for (method, name) in [("sha512", "old"), ("sha512-pbkdf2", "newer")] {
        let mut command = Command::new("mosquitto_passwd");
        command.args(["-H", method, "-b"]);
        if name == "old" {
            command.arg("-c");
        }
        let (good, text) = finish(command.arg(&file).args([name, "what mosquitto was told"]));
        assert!(good, "{text}");
    }
    let told = user(&site, &["import", "mosquitto.passwd"], None);
    assert!(told.contains("took 2 accounts") && told.contains("2 have hashes of mosquitto"), "{told}");
    reload(&site);
    for name in ["old", "newer"] {
        assert!(publish(&site, name, "what mosquitto was told"), "{name}");
        assert!(!publish(&site, name, "what nobody was told"), "{name}");
    }
}

/// PRACTICES.md, table (a), row 9.
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
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
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

/// PRACTICES.md, table (a), row 16.
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
