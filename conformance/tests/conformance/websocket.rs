//! MQTT over WebSocket (section 6).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use motte_conformance::{connect4, connect5, publish4};
use motte_testkit::Broker;

/// A broker with a WebSocket listener.
struct Site {
    broker: Broker,
    _dir: tempfile::TempDir,
}

fn site() -> Site {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker =
        Broker::start(dir.path(), &["dev", "--bind", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--json"]);
    Site { broker, _dir: dir }
}

/// A connection after the request; gives the response's head.
fn upgrade(site: &Site, protocols: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(site.broker.address("websocket")).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocols}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("the broker answers") == 1 {
        head.push(byte[0]);
    }
    (stream, String::from_utf8_lossy(&head).into_owned())
}

/// A frame with an empty mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

/// The bytes of MQTT that arrive until the broker closes or `count` are there.
fn mqtt(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut head = [0; 2];
    while bytes.len() < count && stream.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; usize::from(head[1])];
        stream.read_exact(&mut payload).expect("a whole frame");
        // MQTT-6.0.0-1 binds the broker as well: what carries MQTT is binary.
        assert_eq!(head[0], 0x82, "a frame of another kind: {payload:02x?}");
        bytes.extend(payload);
    }
    bytes
}

const OFFER: &str = "Sec-WebSocket-Protocol: chat, mqtt\r\n";

// MQTT-6.0.0-4
#[test]
fn the_subprotocol_is_mqtt_or_there_is_no_websocket() {
    let site = site();
    let (_, head) = upgrade(&site, OFFER);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("Sec-WebSocket-Protocol: mqtt\r\n"), "{head}");
    for other in ["", "Sec-WebSocket-Protocol: chat\r\n"] {
        let (_, head) = upgrade(&site, other);
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
}

// MQTT-6.0.0-2
#[test]
fn packets_are_found_wherever_frames_begin_and_end() {
    let site = site();
    for version in [4, 5] {
        let (mut stream, _) = upgrade(&site, OFFER);
        let connect =
            if version == 4 { connect4("web", 2, 60, &[]) } else { connect5("web", 2, 60, &[], &[]) };
        let all = [connect, vec![0xc0, 0], publish4(0, "a", None, &[]), vec![0xc0, 0]];
        // 5.0 has one byte more in PUBLISH; a ping does for it.
        let bytes = if version == 4 { all.concat() } else { [&all[0][..], &all[1], &all[3]].concat() };
        for piece in bytes.chunks(3) {
            stream.write_all(&frame(0x82, piece)).expect("a frame goes out");
        }
        let got = mqtt(&mut stream, 8);
        assert_eq!(got[0], 0x20);
        let got = if got.ends_with(&[0xd0, 0, 0xd0, 0]) { got } else { [got, mqtt(&mut stream, 4)].concat() };
        assert!(got.ends_with(&[0xd0, 0, 0xd0, 0]), "two pings, two answers: {got:02x?}");
        // A fragmented message: one that is not the last, and its continuation.
        stream.write_all(&frame(0x02, &[0xc0])).expect("a frame goes out");
        stream.write_all(&frame(0x80, &[0])).expect("a frame goes out");
        assert_eq!(mqtt(&mut stream, 2), [0xd0, 0]);
    }
}

// MQTT-6.0.0-1
#[test]
fn a_frame_of_text_ends_the_connection() {
    let site = site();
    let (mut stream, _) = upgrade(&site, OFFER);
    stream.write_all(&frame(0x82, &connect4("web", 2, 60, &[]))).expect("a frame goes out");
    assert_eq!(mqtt(&mut stream, 4), [0x20, 2, 0, 0]);
    stream.write_all(&frame(0x81, &[0xc0, 0])).expect("a frame goes out");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest[0] == 0x88, "a close frame at most: {rest:02x?}");
}
