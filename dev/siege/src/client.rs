//! A client of a few bytes, as cheap as a guesser's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a guesser waits for its answer before it tries the next.
const PATIENCE: Duration = Duration::from_millis(60);
/// How long a healthy client does.
const HEALTHY_PATIENCE: Duration = Duration::from_secs(30);

/// What a login came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was accepted.
    Accepted,
    /// The password is wrong.
    Wrong,
    /// It was refused for another reason.
    Refused,
    /// The connection was closed without an answer.
    Closed,
    /// The answer is put off.
    Late,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    fn dial(address: SocketAddr, from: &str, patience: Duration) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(format!("PROXY TCP4 {from} 192.0.2.254 40000 1883\r\n").as_bytes())?;
        Ok(Self { stream })
    }

    fn connect(&mut self, id: &str, name: &str, password: &str) -> std::io::Result<Answer> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
        for text in [id, name, password] {
            body.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
            body.extend(text.as_bytes());
        }
        self.send(0x10, &body)?;
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer)?;
        Ok(match answer {
            [0x20, _, _, 0] => Answer::Accepted,
            [0x20, _, _, 4] => Answer::Wrong,
            _ => Answer::Refused,
        })
    }

    fn send(&mut self, first: u8, body: &[u8]) -> std::io::Result<()> {
        let mut packet = vec![first, u8::try_from(body.len()).unwrap_or(0)];
        packet.extend(body);
        self.stream.write_all(&packet)
    }

    /// A login of somebody who waits for the answer.
    pub fn log_in(address: SocketAddr, from: &str, id: &str, name: &str, password: &str) -> (Self, Answer) {
        let mut client = Self::dial(address, from, HEALTHY_PATIENCE).expect("the broker listens");
        let answer = client.connect(id, name, password).unwrap_or(Answer::Closed);
        (client, answer)
    }

    /// A guess.
    pub fn guess(address: SocketAddr, from: &str, name: &str) -> Answer {
        let answer =
            Self::dial(address, from, PATIENCE).and_then(|mut one| one.connect("guess", name, "wrong"));
        answer.unwrap_or_else(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Answer::Late,
            _ => Answer::Closed,
        })
    }

    /// SUBSCRIBE to `t`.
    pub fn subscribe(&mut self) {
        self.send(0x82, &[0, 1, 0, 1, b't', 0]).expect("the broker reads");
        self.stream.read_exact(&mut [0; 5]).expect("SUBACK");
    }

    /// PUBLISH to `t` and its way back.
    pub fn round_trip(&mut self) {
        self.send(0x30, &[0, 1, b't', b'x']).expect("the broker reads");
        self.stream.read_exact(&mut [0; 6]).expect("the message comes back");
    }
}
