//! Ways around a policy, tried on the whole server: filters that reach too far, and names that would be wildcards or levels.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use motte_server::Options;

use crate::harness::*;
use crate::secured::{dial, now_s, secured};

/// Each device has a branch of its own; the topics of all begin with a literal level.
const OWN: &str = "version = 1\n[role.device]\nrules = [{ allow = [\"publish\", \"subscribe\", \"share\"], topics = [\"a/{client_id}/#\"] }]\n[anonymous]\nroles = [\"device\"]\nclient_ids = [\"*\"]\n";

/// What a sensor that is called `dev` may not subscribe to, each valid as a filter.
const REFUSED: [&str; 40] = [
    "#",
    "+",
    "/",
    "/#",
    "/+",
    "//",
    "+/#",
    "+/+",
    "+/+/#",
    "+/dev",
    "+/dev/#",
    "+/+/x",
    "a",
    "a/#",
    "a/+",
    "a/+/#",
    "a/+/b",
    "a/+/+",
    "a//#",
    "a//dev",
    "a/de/#",
    "a/dev2/#",
    "a/DEV/#",
    "A/dev/#",
    " a/dev",
    "a/dev ",
    "/a/dev/#",
    "a/d\u{435}v/#",
    "a/de\u{301}v/#",
    "a/\u{ff44}ev/#",
    "$SYS/#",
    "$SYS/+",
    "$share",
    "$a/dev/#",
    "$share/g/#",
    "$share/g/+/dev/#",
    "$share/g/a/#",
    "$share/g/a/+/x",
    "$share/a/dev/#",
    "$share/g/$SYS/#",
];

fn subscribe_5(client: &mut Client, filter: &str) -> u8 {
    let mut body = vec![0, 1, 0];
    body.extend(string(filter));
    body.push(0);
    client.send(&packet(0x82, &body));
    let (first, body) = client.packet();
    assert_eq!((first, body[..3].to_vec()), (0x90, vec![0, 1, body[2]]), "{filter}");
    *body.last().unwrap()
}

fn policed(policy: &str) -> (tempfile::TempDir, Running) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.policy_files = vec![directory.path().join("policy.toml")];
    std::fs::write(&config.policy_files[0], policy).unwrap();
    let running = start_with(config, Options::default());
    (directory, running)
}

#[test]
fn forty_filters_that_reach_beyond_the_grant_are_refused() {
    let (_directory, running) = policed(OWN);
    let mut device = running.client();
    assert_eq!(device.connect_5("dev"), 0);
    for filter in REFUSED {
        assert_eq!(subscribe_5(&mut device, filter), 0x87, "{filter}");
    }
    for filter in ["a/dev", "a/dev/#", "a/dev/+", "a/dev/x/#", "a/dev//", "$share/g/a/dev/#"] {
        assert_eq!(subscribe_5(&mut device, filter), 0, "{filter}");
    }
    running.stop();
}

#[test]
fn a_name_that_holds_a_wildcard_or_a_level_opens_nothing() {
    let (_directory, running) = policed(OWN);
    for name in ["+", "#", "a/b", "/", "+/x", "x/#", "dev/+", "b/../dev"] {
        let mut device = running.client();
        // Refused already, or let in with no rights by it.
        if device.connect_5(name) != 0 {
            continue;
        }
        for filter in ["a/dev/x", "a/b/x", "a/x/x", "a/#", "a/+/x", "a/+/#"] {
            assert_eq!(subscribe_5(&mut device, filter), 0x87, "{name}: {filter}");
        }
    }
    running.stop();
}

/// What certificates say fills placeholders too.
#[test]
fn a_unit_of_a_certificate_that_holds_a_wildcard_or_a_level_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (config, authority) = secured(path);
    let policy = "version = 1\n[role.line]\nrules = [{ allow = [\"subscribe\"], topics = [\"t/{cert.ou}/#\"] }]\n[authenticated]\nroles = [\"line\"]\n";
    std::fs::write(path.join("policy.toml"), policy).unwrap();
    let running = start_with(config, Options::default());
    for (unit, own) in
        [("line", true), ("+", false), ("#", false), ("a/b", false), ("line/#", false), ("", false)]
    {
        let issued = authority.client("device", unit, now_s()).unwrap();
        std::fs::write(path.join("device.pem"), &issued.certificate_pem).unwrap();
        std::fs::write(path.join("device.key"), issued.key_pem.expose()).unwrap();
        std::fs::set_permissions(path.join("device.key"), PermissionsExt::from_mode(0o600)).unwrap();
        let mut device = dial(&running, path);
        device.write_all(&hello("device")).unwrap();
        let mut answer = [0; 4];
        device.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0], "{unit}");
        for (filter, granted) in
            [("t/line/x", own), ("t/#", false), ("t/+/x", false), ("t/a/b", false), ("t/other/x", false)]
        {
            let body = [&[0, 1][..], &string(filter), &[0]].concat();
            device.write_all(&packet(0x82, &body)).unwrap();
            let mut answer = [0; 5];
            device.read_exact(&mut answer).unwrap();
            assert_eq!(answer[4] < 0x80, granted, "{unit}: {filter}");
        }
    }
    running.stop();
}
