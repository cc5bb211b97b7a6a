//! Kinds of listeners beside plain TCP, and the listener of the metrics.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use motte_config::Endpoint;
use motte_server::BoundAddress;

use crate::harness::*;

#[test]
fn a_unix_socket_is_served_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("motte.sock");
    let text = format!(
        "[[listener]]\nname = \"main\"\nkind = \"unix\"\nbind = [\"unix:{}\"]\n[listener.auth]\nanonymous = true\n",
        path.display()
    );
    let mut config = motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
    config.workers = 2;
    let running = start(config);
    assert_eq!(running.server.addresses()[0].address, BoundAddress::Path(path.clone()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&hello("device")).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    running.stop();
    assert!(!path.exists());
}

#[test]
fn a_websocket_carries_packets_split_over_frames() {
    let text = "[[listener]]\nname = \"main\"\nkind = \"ws\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nanonymous = true\n";
    let mut config = motte_config::parse(text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
    config.workers = 2;
    let running = start(config);
    for number in 0..8 {
        let mut client = running.client();
        client.send(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).unwrap();
            response.push(byte[0]);
        }
        assert!(response.starts_with(b"HTTP/1.1 101 "));
        for piece in hello(&format!("web-{number}")).chunks(5) {
            // A binary frame with an empty mask.
            let mut frame = vec![0x82, 0x80 | u8::try_from(piece.len()).unwrap(), 0, 0, 0, 0];
            frame.extend_from_slice(piece);
            client.send(&frame);
        }
        let mut answer = [0; 6];
        client.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x82, 4, 0x20, 2, 0, 0]);
    }
    running.stop();
}

#[test]
fn an_address_that_is_not_admitted_is_turned_away_at_the_door() {
    let running = start(config("deny = [\"127.0.0.0/8\"]\n[listener.auth]\nanonymous = true\n"));
    assert!(running.client().is_closed());
    running.lines.expect("gate.address_refused");
    running.stop();
}

#[test]
fn metrics_are_off_until_named() {
    let mut config = anonymous();
    config.metrics = Some(Endpoint::Tcp("127.0.0.1:0".parse().unwrap()));
    let running = start(config);
    let mut client = running.client();
    assert_eq!(client.connect("counted", true), (false, 0));
    let page = || {
        let mut scrape = Client::to(running.address("metrics"));
        scrape.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut page = String::new();
        scrape.stream.read_to_string(&mut page).unwrap();
        page
    };
    wait_for(|| page().contains("\nmotte_connections 1\n"), page);
    running.stop();
}
