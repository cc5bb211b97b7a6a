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

/// What a WebSocket listener expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// Path of the request.
    pub path: String,
    /// Origins that browsers may come from; a request without Origin is no browser's.
    pub origins: Vec<String>,
}

/// The handshake so far.
#[derive(Debug, Default)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

/// How the handshake stands.
pub(crate) enum Answer {
    /// More bytes are needed.
    Partial,
    /// Send this; what followed the request belongs to the WebSocket.
    Accept { response: Vec<u8>, rest: Vec<u8> },
    /// Send this and close.
    Refuse { response: Vec<u8>, cause: &'static str },
}

impl Request {
    /// Takes bytes that arrived.
    pub(crate) fn take(&mut self, bytes: &[u8], options: &WebSocketOptions) -> Answer {
        self.bytes.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.bytes) {
            Ok(httparse::Status::Complete(len)) => match check(&request, options) {
                Ok(response) => {
                    Answer::Accept { response, rest: self.bytes.get(len..).unwrap_or_default().to_vec() }
                }
                Err((status, cause)) => refuse(status, cause),
            },
            Ok(httparse::Status::Partial) if self.bytes.len() < REQUEST_BYTES_MAX => Answer::Partial,
            Ok(httparse::Status::Partial) => {
                refuse("431 Request Header Fields Too Large", "the request is too large")
            }
            Err(_) => refuse("400 Bad Request", "the request is no HTTP/1.1"),
        }
    }
}

fn refuse(status: &str, cause: &'static str) -> Answer {
    let body = format!("{cause}\n");
    let response = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer::Refuse { response: response.into_bytes(), cause }
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
    // A page of the listener's own host and port is at home; every other one must be listed.
    let own = |origin: &str| origin.split_once("://").map(|(_, host)| host) == header("Host");
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

/// MQTT bytes over WebSocket messages.
#[derive(Debug)]
pub(crate) struct Framed<S> {
    inner: WebSocket<S>,
    /// The message being read and how far.
    message: Bytes,
    /// The peer said goodbye.
    closed: bool,
    /// A message waits in the library to be written.
    unflushed: bool,
}

impl<S: Read + Write> Framed<S> {
    pub(crate) fn new(stream: S, rest: Vec<u8>, role: Role) -> Self {
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(MESSAGE_BYTES_MAX);
        config.max_frame_size = Some(MESSAGE_BYTES_MAX);
        config.read_buffer_size = 4 * 1024;
        config.write_buffer_size = 0;
        config.max_write_buffer_size = 2 * MESSAGE_BYTES_MAX;
        let inner = WebSocket::from_partially_read(stream, rest, role, Some(config));
        Self { inner, message: Bytes::new(), closed: false, unflushed: false }
    }

    pub(crate) fn stream(&self) -> &S {
        self.inner.get_ref()
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        self.inner.get_mut()
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

impl<S: Read + Write> Read for Framed<S> {
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

impl<S: Read + Write> Write for Framed<S> {
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
