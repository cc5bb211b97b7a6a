//! WebSocket: the request and the frames behind it give the same bytes however they arrive.

use std::io::{self, Read, Write};

use motte_transport::{Upgrade, UpgradeAnswer, WebSocketBytes, WebSocketOptions};

/// Bytes that arrive in pieces; what is written is thrown away.
#[derive(Debug)]
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.piece.min(buffer.len()).min(self.rest.len());
        let (now, later) = self.rest.split_at(n);
        if let Some(place) = buffer.get_mut(..n) {
            place.copy_from_slice(now);
        }
        self.rest = later;
        Ok(n)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer to the request, and the bytes of MQTT behind it.
fn outcome(data: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>) {
    let options = WebSocketOptions { path: "/mqtt".into(), origins: vec!["https://a.example".into()] };
    let mut request = Upgrade::default();
    let mut chunks = data.chunks(piece);
    let mut used = 0;
    loop {
        let Some(chunk) = chunks.next() else { return (Vec::new(), Vec::new()) };
        used += chunk.len();
        match request.take(chunk, &options) {
            UpgradeAnswer::Partial => {}
            UpgradeAnswer::Refuse { response, .. } => return (response, Vec::new()),
            UpgradeAnswer::Accept { response, rest } => {
                let stream = Pieces { rest: data.get(used..).unwrap_or_default(), piece };
                let mut bytes = Vec::new();
                let mut framed = WebSocketBytes::server(stream, rest);
                let mut buffer = [0; 512];
                while let Ok(n @ 1..) = framed.read(&mut buffer) {
                    bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
                }
                return (response, bytes);
            }
        }
    }
}

/// Runs the bytes as everything a client sends.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let whole = outcome(data, data.len().max(1));
    assert!(whole.1.len() <= data.len(), "more bytes than came");
    for piece in [1, 3, 1_000] {
        let other = outcome(data, piece);
        // A refusal may name another cause when less of the request was there.
        let same = if whole.0.starts_with(b"HTTP/1.1 101") { other == whole } else { other.1.is_empty() };
        assert!(same, "pieces of {piece} bytes make a difference");
    }
}
