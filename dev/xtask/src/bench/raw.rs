//! The few packets of MQTT 3.1.1 that measurements need which `motte bench` does not send: a client that does not read, one that
//! subscribes to very much, one that leaves a Session behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Outcome;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// Connects; with a Clean Session or not.
    pub(crate) fn connect(port: u16, client_id: &str, clean: bool) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut client = Self { stream, read: Vec::new() };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, if clean { 2 } else { 0 }, 0, 0];
        body.extend(string(client_id));
        client.send(&packet(0x10, &body))?;
        let (kind, body) = client.packet()?;
        if kind >> 4 != 2 || body.get(1) != Some(&0) {
            return Err(format!("{client_id} was not accepted: {body:?}").into());
        }
        Ok(client)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Subscribes, and waits for the answer.
    pub(crate) fn subscribe(&mut self, filters: &[String], qos: u8) -> Outcome<()> {
        let mut body = vec![0, 1];
        for filter in filters {
            body.extend(string(filter));
            body.push(qos);
        }
        self.send(&packet(0x82, &body))?;
        let (_, answer) = self.packet()?;
        match answer.iter().skip(2).find(|code| **code > 2) {
            Some(code) => Err(format!("a subscription was refused with {code:#x}").into()),
            None => Ok(()),
        }
    }

    /// The next packet: first byte and body.
    pub(crate) fn packet(&mut self) -> Outcome<(u8, Vec<u8>)> {
        loop {
            if let Some((whole, head)) = whole(&self.read) {
                let bytes: Vec<u8> = self.read.drain(..whole).collect();
                let first = bytes.first().copied().unwrap_or_default();
                return Ok((first, bytes.get(head..).unwrap_or_default().to_vec()));
            }
            let mut buffer = [0; 8_192];
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err("the broker closed the connection".into());
            }
            self.read.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    /// Whether a packet can be taken without waiting.
    pub(crate) fn has_packet(&self) -> bool {
        whole(&self.read).is_some()
    }

    /// Says goodbye.
    pub(crate) fn disconnect(mut self) -> Outcome<()> {
        self.send(&[0xe0, 0])
    }
}

/// A PUBLISH with QoS 1.
pub(crate) fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    body.extend(id.to_be_bytes());
    body.extend_from_slice(payload);
    packet(0x32, &body)
}

/// A PUBACK for a PUBLISH's body.
pub(crate) fn puback(body: &[u8]) -> Option<[u8; 4]> {
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    Some([0x40, 2, *body.get(length + 2)?, *body.get(length + 3)?])
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Bytes of the packet at the front and of its fixed header, if it is there whole.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return (bytes.len() > at + length).then_some((at + 1 + length, at + 1));
        }
    }
    None
}
