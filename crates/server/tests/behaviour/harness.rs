//! A server on ports of the system's choice, and a client that speaks bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use motte_access::{CompiledPolicy, PolicyGeneration};
use motte_config::{Config, Listener};
use motte_server::{BoundAddress, ExitReason, Options, Server};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The lines of a server's log.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// How much there is, to look from here on later.
    pub fn length(&self) -> usize {
        self.text().len()
    }

    /// Waits for a line with both texts behind a place.
    pub fn expect_since(&self, place: usize, event: &str, part: &str) {
        let lines = || self.text().get(place..).unwrap_or_default().to_owned();
        let is_there = || lines().lines().any(|line| line.contains(event) && line.contains(part));
        wait_for(is_there, || format!("no {event} with `{part}` in the log:\n{}", lines()));
    }

    /// Waits for a line with this text.
    pub fn expect(&self, part: &str) {
        wait_for(|| self.text().contains(part), || format!("no `{part}` in the log:\n{}", self.text()));
    }
}

/// Waits for a condition.
pub fn wait_for(mut condition: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::yield_now();
    }
}

/// A configuration with one plain listener on loopback.
pub fn config(listener: &str) -> Config {
    let text = format!("[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n{listener}");
    motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap()
}

/// As [`config`], where nobody is asked who they are.
pub fn anonymous() -> Config {
    config("[listener.auth]\nanonymous = true\n")
}

/// A running server.
pub struct Running {
    pub server: Server,
    pub lines: Lines,
}

/// Starts with every topic permitted.
pub fn start(config: Config) -> Running {
    let policy = CompiledPolicy::development_allow_all(PolicyGeneration(1));
    start_with(config, Options { policy: Some(policy), ..Options::default() })
}

/// Starts with options.
pub fn start_with(config: Config, options: Options) -> Running {
    let lines = Lines::default();
    let options = Options { log_sink: Some(Box::new(lines.clone())), ..options };
    Running { server: Server::start(config, options).unwrap(), lines }
}

impl Running {
    /// Where a listener is.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let bound = self.server.addresses().iter().find(|bound| bound.listener == listener).unwrap();
        match &bound.address {
            BoundAddress::Socket(address) => *address,
            BoundAddress::Path(path) => panic!("{} is no port", path.display()),
        }
    }

    /// A new client, not connected in MQTT's sense.
    pub fn client(&self) -> Client {
        Client::to(self.address("main"))
    }

    /// Stops cleanly.
    pub fn stop(self) {
        self.server.handle().stop();
        assert_eq!(self.server.wait().unwrap(), ExitReason::Stopped);
    }
}

/// Sets one limit everywhere.
pub fn limited(mut config: Config, change: impl Fn(&mut motte_config::Limits)) -> Config {
    change(&mut config.limits);
    for Listener { limits, .. } in &mut config.listeners {
        change(limits);
    }
    config
}

/// A client that writes and reads packets as bytes.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet: first byte and body.
    pub fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut first = [0];
        self.stream.read_exact(&mut first).unwrap();
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (first[0], body)
    }

    /// Whether the server closes without another byte.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// CONNECT with 3.1.1; gives Session Present and the return code.
    pub fn connect(&mut self, client_id: &str, clean: bool) -> (bool, u8) {
        self.connect_as(client_id, clean, None)
    }

    /// CONNECT with 3.1.1 and credentials.
    pub fn connect_as(&mut self, client_id: &str, clean: bool, login: Option<(&str, &str)>) -> (bool, u8) {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, u8::from(clean) << 1, 0, 60];
        body.extend(string(client_id));
        if let Some((name, password)) = login {
            body[7] |= 0xc0;
            body.extend(string(name));
            body.extend(string(password));
        }
        self.send(&packet(0x10, &body));
        let (first, body) = self.packet();
        assert_eq!(first, 0x20);
        (body[0] == 1, body[1])
    }

    /// CONNECT with 5.0 and no properties; gives the Reason Code.
    pub fn connect_5(&mut self, client_id: &str) -> u8 {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0];
        body.extend(string(client_id));
        self.send(&packet(0x10, &body));
        let (first, body) = self.packet();
        assert_eq!(first, 0x20);
        body[1]
    }

    /// SUBSCRIBE with 3.1.1; gives the return code.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let mut body = vec![0, 1];
        body.extend(string(filter));
        body.push(qos);
        self.send(&packet(0x82, &body));
        let (first, body) = self.packet();
        assert_eq!((first, &body[..2]), (0x90, &[0, 1][..]));
        body[2]
    }

    /// PUBLISH with `QoS` 0.
    pub fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let mut body = string(topic);
        body.extend_from_slice(payload);
        self.send(&packet(0x30 | u8::from(retain), &body));
    }

    /// PUBLISH with `QoS` 1, acknowledged.
    pub fn publish_1(&mut self, topic: &str, payload: &[u8]) {
        let mut body = string(topic);
        body.extend([0, 7]);
        body.extend_from_slice(payload);
        self.send(&packet(0x32, &body));
        assert_eq!(self.packet(), (0x40, vec![0, 7]));
    }

    /// The next PUBLISH with `QoS` 0: topic and payload.
    pub fn message(&mut self) -> (String, Vec<u8>) {
        let (first, body) = self.packet();
        assert_eq!(first & 0xf0, 0x30, "not a PUBLISH");
        let length = usize::from(body[0]) << 8 | usize::from(body[1]);
        let skip = if first & 0x06 == 0 { 0 } else { 2 };
        (String::from_utf8(body[2..2 + length].to_vec()).unwrap(), body[2 + length + skip..].to_vec())
    }
}

/// CONNECT with 3.1.1.
pub fn hello(client_id: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
    body.extend(string(client_id));
    packet(0x10, &body)
}

/// A string with its length.
pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A packet with its fixed header.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}
