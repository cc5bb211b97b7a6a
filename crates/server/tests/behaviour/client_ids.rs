//! Client Identifiers belong to identities: over real sockets, with what one client may try against another.

use motte_config::{AuthMethod, Config};
use motte_server::Options;

use crate::events::with_passwords;
use crate::harness::*;

const POLICY: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\n";
const NOT_VALID: u8 = 0x85;

/// Identities `a` and `b` with passwords, and a policy that says nothing of Client Identifiers.
fn guarded(directory: &tempfile::TempDir, policy: &str) -> Config {
    let mut config = config("");
    with_passwords(directory, 64, &mut config);
    config.workers = 2;
    config.listeners[0].methods = vec![AuthMethod::Password];
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    config.policy_files = vec![file];
    config
}

impl Client {
    /// CONNECT with 5.0 and a Session that lasts an hour: Session Present, Reason Code, assigned identifier.
    fn log_in(&mut self, id: &str, name: &str) -> (bool, u8, Option<String>) {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc0, 0, 60, 5, 0x11, 0, 0, 0x0e, 0x10];
        for text in [id, name, "right"] {
            body.extend(string(text));
        }
        self.send(&packet(0x10, &body));
        let (first, body) = self.packet();
        assert_eq!(first, 0x20);
        let at = body.windows(3).position(|part| part[0] == 0x12 && part[1] == 0 && part[2] > 30);
        let assigned = at.map(|at| {
            let length = usize::from(body[at + 2]);
            String::from_utf8(body[at + 3..at + 3 + length].to_vec()).unwrap()
        });
        (body[0] == 1, body[1], assigned)
    }
}

#[test]
fn an_identity_uses_its_own_name_and_what_begins_with_it_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let running = start_with(guarded(&directory, POLICY), Options::default());
    for (id, wanted) in [
        ("a", 0),
        ("a-1", 0),
        ("b", NOT_VALID),
        ("b-1", NOT_VALID),
        ("ab", NOT_VALID),
        ("A", NOT_VALID),
        ("a/1", NOT_VALID),
        ("#", NOT_VALID),
        ("+", NOT_VALID),
        ("x", NOT_VALID),
    ] {
        assert_eq!(running.client().log_in(id, "a").1, wanted, "{id}");
    }
    running.lines.expect("gate.client_id_refused");
    running.stop();
}

#[test]
fn anothers_session_is_neither_taken_over_nor_disturbed_nor_ended_by_clean_start() {
    let directory = tempfile::tempdir().unwrap();
    let shared = format!("{POLICY}client_ids = [\"shared-*\"]\n");
    let running = start_with(guarded(&directory, &shared), Options::default());
    for number in 0..8 {
        // Eight identifiers, so that both workers are home to some.
        let id = format!("shared-{number}");
        let mut owner = running.client();
        assert_eq!(owner.log_in(&id, "a").1, 0);
        assert_eq!(running.client().log_in(&id, "b"), (false, NOT_VALID, None));
        let clean = running.client().connect_as(&id, true, Some(("b", "right")));
        assert_eq!(clean, (false, 2), "clean session");
        owner.send(&[0xc0, 0]);
        assert_eq!(owner.packet().0, 0xd0, "its connection was not disturbed");
        owner.send(&[0xe0, 0]);
        assert!(owner.is_closed());
        assert_eq!(running.client().log_in(&id, "b").1, NOT_VALID, "nor while it is away");
        assert!(running.client().log_in(&id, "a").0, "its Session is still there");
    }
    running.lines.expect("gate.takeover_refused");
    running.stop();
}

#[test]
fn an_assigned_identifier_cannot_be_guessed_and_is_for_whoever_got_it() {
    let directory = tempfile::tempdir().unwrap();
    let strict = format!("{POLICY}client_ids = [\"{{identity}}\"]\n");
    let running = start_with(guarded(&directory, &strict), Options::default());
    let mut clients: Vec<(Client, String)> = (0..16)
        .map(|_| {
            let mut client = running.client();
            let (_, code, assigned) = client.log_in("", "a");
            assert_eq!(code, 0);
            (client, assigned.unwrap())
        })
        .collect();
    let mut names: Vec<String> = clients.iter().map(|(_, name)| name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 16);
    for name in &names {
        let digits = name.strip_prefix("a-auto-").unwrap();
        assert!(digits.len() == 32 && u128::from_str_radix(digits, 16).is_ok(), "{name}");
    }
    running.server.handle().reload().unwrap();
    for (client, name) in &mut clients {
        client.send(&[0xc0, 0]);
        assert_eq!(client.packet().0, 0xd0, "a reload does not end it");
        assert_eq!(running.client().log_in(name, "b").1, NOT_VALID, "it is not anybody else's");
        client.send(&[0xe0, 0]);
        assert!(client.is_closed());
        assert_eq!(running.client().log_in(name, "a"), (true, 0, None), "its owner comes back with it");
    }
    running.stop();
}

#[test]
fn two_devices_with_one_identifier_are_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let running = start_with(guarded(&directory, POLICY), Options::default());
    let mut clients: Vec<Client> = (0..6).map(|_| running.client()).collect();
    for client in &mut clients {
        assert_eq!(client.log_in("a", "a").1, 0);
    }
    running.lines.expect("gate.client_id_contended");
    running.stop();
}

#[test]
fn an_identity_held_to_addresses_comes_from_nowhere_else_and_a_reload_reaches_it() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let held = |net: &str| format!("{POLICY}[identity.a]\nfrom = [\"{net}\"]\n");
    let running = start_with(guarded(&directory, &held("127.0.0.0/8")), Options::default());
    let mut live = running.client();
    assert_eq!(live.log_in("a", "a").1, 0);
    std::fs::write(&file, held("10.77.0.2/32")).unwrap();
    running.server.handle().reload().unwrap();
    let (first, body) = live.packet();
    assert_eq!((first, body[0]), (0xe0, NOT_AUTHORIZED), "it is disconnected");
    for id in ["a", "a-1", ""] {
        assert_eq!(running.client().log_in(id, "a").1, NOT_AUTHORIZED, "{id}");
    }
    running.lines.expect("gate.source_refused");
    assert_eq!(running.client().log_in("b", "b").1, 0, "others are not held to it");
    std::fs::write(&file, held("127.0.0.1/32")).unwrap();
    running.server.handle().reload().unwrap();
    assert!(running.client().log_in("a", "a").0, "its Session is still there");
    running.stop();
}
