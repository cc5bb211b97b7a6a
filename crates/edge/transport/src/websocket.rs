//! WebSocket: the handshake, bounded and strict, and binary frames split and joined at will (RFC 6455; MQTT section 6).

use std::io::{self, Read, Write};

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Message, WebSocket};

/// Frames without a byte of MQTT that are taken in one read: a peer that sends them faster than they are read would keep
/// its worker for itself.
const IDLE_FRAMES_MAX: usize = 1_024;

/// Most bytes of a handshake request.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Most headers in it.
const HEADERS_MAX: usize = 64;
/// Most bytes of a message; MQTT packets larger than that come in several.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of a message from somebody who is not authenticated.
const MESSAGE_BYTES_MAX_BEFORE: usize = 16 * 1024;
/// Most bytes taken from the stream before others have their turn.
const READ_BYTES_MAX: usize = 256 * 1024;

/// What a WebSocket listener expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// Path of the request.
    pub path: String,
    /// Origins that browsers may come from; a request without Origin is no browser's.
    pub origins: Vec<String>,
}

/// The server's side of the handshake so far.
#[derive(Debug, Default)]
pub struct Upgrade {
    bytes: Vec<u8>,
}

/// How the handshake stands.
#[derive(Debug)]
pub enum UpgradeAnswer {
    /// More bytes are needed.
    Partial,
    /// Send this; what followed the request belongs to the WebSocket.
    Accept {
        /// To send.
        response: Vec<u8>,
        /// Bytes behind the request.
        rest: Vec<u8>,
    },
    /// Send this and close.
    Refuse {
        /// To send.
        response: Vec<u8>,
        /// Why, for the log.
        cause: &'static str,
    },
}

impl Upgrade {
    /// Takes bytes that arrived. A request has at most 8 KiB and 64 headers.
    pub fn take(&mut self, bytes: &[u8], options: &WebSocketOptions) -> UpgradeAnswer {
        self.bytes.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.bytes) {
            Ok(httparse::Status::Complete(len)) => match check(&request, options) {
                Ok(response) => UpgradeAnswer::Accept {
                    response,
                    rest: self.bytes.get(len..).unwrap_or_default().to_vec(),
                },
                Err((status, cause)) => refuse(status, cause),
            },
            Ok(httparse::Status::Partial) if self.bytes.len() < REQUEST_BYTES_MAX => UpgradeAnswer::Partial,
            Ok(httparse::Status::Partial) => {
                refuse("431 Request Header Fields Too Large", "the request is too large")
            }
            Err(_) => refuse("400 Bad Request", "the request is no HTTP/1.1"),
        }
    }
}

fn refuse(status: &str, cause: &'static str) -> UpgradeAnswer {
    let body = format!("{cause}\n");
    let response = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    UpgradeAnswer::Refuse { response: response.into_bytes(), cause }
}

type Refused = (&'static str, &'static str);

fn check(request: &httparse::Request<'_, '_>, options: &WebSocketOptions) -> Result<Vec<u8>, Refused> {
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let has = |name: &str, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(("405 Method Not Allowed", "a WebSocket begins with GET and HTTP/1.1"));
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    if path != options.path {
        return Err(("404 Not Found", "wrong path: see `path` in [listener.websocket]"));
    }
    if !has("Connection", "upgrade") || !has("Upgrade", "websocket") {
        return Err(("426 Upgrade Required", "no WebSocket upgrade was asked for"));
    }
    if header("Sec-WebSocket-Version") != Some("13") {
        return Err(("426 Upgrade Required", "the WebSocket version must be 13"));
    }
    // A page of the listener's own host and port is at home; every other one must be listed. Only where the host is a plain
    // address or localhost: a name of somebody else's that resolves to this machine (DNS rebinding) is nobody's home.
    let own = |origin: &str| {
        let here = origin.split_once("://").map(|(_, host)| host);
        here.is_some_and(|host| Some(host) == header("Host") && is_plain_host(host))
    };
    if let Some(origin) = header("Origin")
        && !own(origin)
        && !options.origins.iter().any(|allowed| allowed == origin || allowed == "*")
    {
        return Err((
            "403 Forbidden",
            "the page's origin is not listed in `origins` of [listener.websocket]",
        ));
    }
    let key = header("Sec-WebSocket-Key").filter(|key| key.len() == 24);
    let key = key.ok_or(("400 Bad Request", "Sec-WebSocket-Key is missing or wrong"))?;
    let offered = header("Sec-WebSocket-Protocol").unwrap_or_default();
    // MQTT-6.0.0-3: the client must offer "mqtt"; "mqttv3.1" is what 3.1 clients offer.
    let protocol =
        ["mqtt", "mqttv3.1"].into_iter().find(|name| offered.split(',').any(|part| part.trim() == *name));
    let protocol = protocol.ok_or(("400 Bad Request", "the client must offer the subprotocol mqtt"))?;
    let accept = derive_accept_key(key.as_bytes());
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    )
    .into_bytes())
}

/// Whether a host with an optional port is an address or `localhost`.
fn is_plain_host(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok()
}

/// A stream that gives only so many bytes at a time. The library goes on by itself through frames that carry nothing, so a
/// peer that sends them without end would keep its worker in one call.
#[derive(Debug)]
struct Metered<S> {
    stream: S,
    left: usize,
    /// The allowance was used up, so there may be more.
    spent: bool,
}

impl<S: Read> Read for Metered<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.spent = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = buffer.len().min(self.left);
        let n = self.stream.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= n;
        Ok(n)
    }
}

impl<S: Write> Write for Metered<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// MQTT bytes over WebSocket messages.
#[derive(Debug)]
pub struct WebSocketBytes<S> {
    inner: WebSocket<Metered<S>>,
    /// Bytes taken from the stream in one read.
    allowance: usize,
    /// The message being read and how far.
    message: Bytes,
    /// The peer said goodbye.
    closed: bool,
    /// A message waits in the library to be written.
    unflushed: bool,
}

impl<S: Read + Write> WebSocketBytes<S> {
    /// The server's end, after the handshake; `rest` came behind the request. Until [`WebSocketBytes::trust`] a message may
    /// have 16 KiB, for the library holds it whole before MQTT sees its first byte.
    pub fn server(stream: S, rest: Vec<u8>) -> Self {
        Self::new(stream, rest, Role::Server, MESSAGE_BYTES_MAX_BEFORE, READ_BYTES_MAX)
    }

    /// The client's end, after the handshake.
    pub fn client(stream: S) -> Self {
        Self::new(stream, Vec::new(), Role::Client, MESSAGE_BYTES_MAX, usize::MAX)
    }

    fn new(stream: S, rest: Vec<u8>, role: Role, bytes_max: usize, allowance: usize) -> Self {
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(bytes_max);
        config.max_frame_size = Some(bytes_max);
        config.read_buffer_size = 4 * 1024;
        config.write_buffer_size = 0;
        config.max_write_buffer_size = 2 * MESSAGE_BYTES_MAX;
        let stream = Metered { stream, left: allowance, spent: false };
        let inner = WebSocket::from_partially_read(stream, rest, role, Some(config));
        Self { inner, allowance, message: Bytes::new(), closed: false, unflushed: false }
    }

    /// The peer is authenticated: messages may have 4 MiB from now on.
    pub fn trust(&mut self) {
        self.inner.set_config(|config| {
            config.max_message_size = Some(MESSAGE_BYTES_MAX);
            config.max_frame_size = Some(MESSAGE_BYTES_MAX);
        });
    }

    /// Whether the last `WouldBlock` only meant that the allowance of one read was used up.
    pub fn has_more(&self) -> bool {
        self.inner.get_ref().spent
    }

    pub(crate) fn stream(&self) -> &S {
        &self.inner.get_ref().stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.inner.get_mut().stream
    }

    pub(crate) fn close(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.inner.close(Some(frame));
        let _ = self.inner.flush();
    }

    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    fn next_message(&mut self) -> io::Result<bool> {
        let stream = self.inner.get_mut();
        (stream.left, stream.spent) = (self.allowance, false);
        for _ in 0..IDLE_FRAMES_MAX {
            match self.inner.read() {
                Ok(Message::Binary(bytes)) if bytes.is_empty() => {}
                Ok(Message::Binary(bytes)) => {
                    self.message = bytes;
                    return Ok(true);
                }
                // Pings are answered by the library with the next write.
                Ok(Message::Ping(_)) => self.unflushed = true,
                Ok(Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(_)) => {
                    self.closed = true;
                    let _ = self.inner.flush();
                    return Ok(false);
                }
                // MQTT-6.0.0-1: binary frames only.
                Ok(Message::Text(_)) => {
                    let frame = CloseFrame {
                        code: CloseCode::Unsupported,
                        reason: "MQTT needs binary frames".into(),
                    };
                    let _ = self.inner.close(Some(frame));
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a text frame; MQTT needs binary frames",
                    ));
                }
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Ok(false);
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "nothing but empty and control frames"))
    }
}

impl<S: Read + Write> Read for WebSocketBytes<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.message.is_empty() && (self.closed || !self.next_message()?) {
            return Ok(0);
        }
        let n = self.message.len().min(buffer.len());
        let taken = self.message.split_to(n);
        if let Some(place) = buffer.get_mut(..n) {
            place.copy_from_slice(&taken);
        }
        Ok(n)
    }
}

impl<S: Read + Write> Write for WebSocketBytes<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.unflushed {
            self.flush()?;
        }
        let n = buffer.len().min(64 * 1024);
        let message = Message::binary(buffer.get(..n).unwrap_or_default().to_vec());
        match self.inner.write(message) {
            Ok(()) => {}
            // The message was taken and waits for the socket.
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(tungstenite::Error::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::new(io::ErrorKind::BrokenPipe, error.to_string())),
        }
        self.unflushed = true;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.inner.flush() {
            Ok(()) => {
                self.unflushed = false;
                Ok(())
            }
            Err(tungstenite::Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(host: &str, origin: &str) -> bool {
        let options =
            WebSocketOptions { path: "/mqtt".into(), origins: vec!["https://listed.example".into()] };
        let request = format!(
            "GET /mqtt HTTP/1.1\r\n{host}Origin: {origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        matches!(Upgrade::default().take(request.as_bytes(), &options), UpgradeAnswer::Accept { .. })
    }

    #[test]
    fn a_page_is_at_home_only_where_no_name_can_be_pointed_at_us() {
        assert!(admitted("Host: localhost:8884\r\n", "http://localhost:8884"));
        assert!(admitted("Host: [::1]:8884\r\n", "http://[::1]:8884"));
        assert!(admitted("Host: broker.example\r\n", "https://listed.example"));
        assert!(!admitted("Host: evil.example:8884\r\n", "http://evil.example:8884"), "DNS rebinding");
        assert!(!admitted("", "null"), "no host and no origin are not the same");
        assert!(!admitted("Host: localhost:8884\r\n", "http://evil.example"));
    }

    /// Gives the same bytes for ever.
    struct Endless(std::iter::Cycle<std::slice::Iter<'static, u8>>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for place in buffer.iter_mut() {
                *place = *self.0.next().unwrap();
            }
            Ok(buffer.len())
        }
    }

    impl Write for Endless {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Gives its bytes and then nothing.
    struct Quiet<'a>(&'a [u8]);

    impl Read for Quiet<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
        }
    }

    impl Write for Quiet<'_> {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_without_end_that_carry_nothing_give_others_their_turn() {
        // An empty binary frame that is not the last, and then empty continuations for ever.
        let stream = Endless(b"\x00\x80\0\0\0\0".iter().cycle());
        let mut framed = WebSocketBytes::server(stream, b"\x02\x80\0\0\0\0".to_vec());
        let error = framed.read(&mut [0; 64]).unwrap_err();
        assert!(error.kind() == io::ErrorKind::WouldBlock && framed.has_more(), "{error}");
    }

    #[test]
    fn a_stranger_may_not_send_a_large_message() {
        let large = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0][..], &[0; 32]].concat();
        let read = |trusted: bool| {
            let mut framed = WebSocketBytes::server(Quiet(&large), Vec::new());
            if trusted {
                framed.trust();
            }
            framed.read(&mut [0; 64]).unwrap_err().kind()
        };
        assert_eq!((read(false), read(true)), (io::ErrorKind::InvalidData, io::ErrorKind::WouldBlock));
    }
}
