//! What the process does not put up with.

use std::io::{Read, Write};

use crate::harness::*;

#[test]
fn a_handshake_that_takes_too_long_is_closed() {
    let running = start(limited(anonymous(), |limits| limits.connect_timeout_s = 1));
    let mut slow = running.client();
    slow.send(&[0x10, 20, 0]);
    assert!(slow.is_closed());
    running.lines.expect("gate.connect_timeout");
    running.stop();
}

#[test]
fn a_large_packet_before_authentication_is_refused_from_its_first_bytes() {
    let running = start(anonymous());
    let mut client = running.client();
    client.send(&[0x10, 0xff, 0xff, 0xff, 0x7f]);
    assert!(client.is_closed());
    running.lines.expect("gate.packet_too_large");
    running.stop();
}

#[test]
fn connections_are_bounded_and_a_closed_one_makes_room() {
    let running = start(limited(anonymous(), |limits| limits.connections_max = 2));
    let (mut one, mut two) = (running.client(), running.client());
    assert_eq!(one.connect("one", true), (false, 0));
    assert_eq!(two.connect("two", true), (false, 0));
    assert!(running.client().is_closed());
    running.lines.expect("gate.connections_full");
    one.send(&[0xe0, 0]);
    assert!(one.is_closed());
    drop(one);
    wait_for(
        || {
            let mut again = running.client();
            again.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            again.stream.write_all(&hello("three")).is_ok() && again.stream.read_exact(&mut [0; 4]).is_ok()
        },
        || "no room was made".to_owned(),
    );
    running.stop();
}

#[test]
fn a_wrong_password_is_refused_and_a_right_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    let cheap = motte_seal::HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    let mut passwords = motte_identity::PasswordFile::default();
    passwords.set("device", motte_seal::PasswordHash::create(b"right", cheap).unwrap());
    std::fs::write(&file, passwords.to_string()).unwrap();
    let mut config = config("");
    config.password_file = Some(file);
    config.workers = 2;
    let running = start(config);
    assert_eq!(running.client().connect_as("device", true, Some(("device", "wrong"))), (false, 4));
    running.lines.expect("gate.login_failed");
    assert_eq!(running.client().connect_as("device", true, Some(("device", "right"))), (false, 0));
    assert_eq!(running.client().connect("device", true), (false, 5));
    running.stop();
}

#[test]
fn a_port_in_use_is_named_with_its_remedy() {
    let running = start(anonymous());
    let mut config = anonymous();
    config.workers = 2;
    config.listeners[0].bind = vec![motte_config::Endpoint::Tcp(running.address("main"))];
    let error =
        motte_server::Server::start(config, motte_server::Options::default()).unwrap_err().to_string();
    assert!(error.contains("listener main: cannot listen on 127.0.0.1:"), "{error}");
    assert!(error.contains("remedy: "), "{error}");
    running.stop();
}
