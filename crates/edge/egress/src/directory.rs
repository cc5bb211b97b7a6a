//! A directory: one conversation for each question, over TLS, bounded in time and in length.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use motte_config::Url;
use motte_ldap::{
    Denial, Framed, Login, Next, Op, Outcome, Plan, PlanText, Response, Trouble, frame, start_tls, unbind,
};
use motte_roles::{DirectoryAnswer, DirectoryQuestion, Message as _, SourceFacts, Unanswered};
use motte_seal::SecretString;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::timed::Timed;

/// Number of the wish to speak TLS.
const START_TLS_ID: u32 = 1;
/// Bytes that are read at once.
const ROOM: usize = 4 * 1_024;

/// A directory that can be asked.
pub(crate) struct Directory {
    url: Url,
    plan: Arc<Plan>,
    password: Option<Arc<SecretString>>,
    /// `None`: nothing is encrypted.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connect: Duration,
    total: Duration,
    answer_max: usize,
}

/// Why there is no answer.
type Failure = (Unanswered, String);

enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// A connection with what was received and not yet taken.
struct Talk {
    stream: Stream,
    received: Vec<u8>,
    /// Bytes that may still come.
    left: usize,
}

impl Directory {
    /// Of what the supervisor says.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn new(
        facts: &SourceFacts,
        password: Option<Arc<SecretString>>,
        roots: &[CertificateDer<'static>],
    ) -> Result<Self, String> {
        let fault = |what: &str| format!("{}: {what}", facts.url);
        let url = facts.address().map_err(fault)?;
        let directory = facts.directory.as_ref();
        let plan = Plan::parse(directory.map_or(&PlanText::default(), |one| &one.plan));
        let plan = plan.map_err(|faults| fault(faults.first().map_or("", |one| one.what.as_str())))?;
        let is_plain = directory.is_some_and(|one| one.plaintext);
        if is_plain && (url.is_tls() || !url.is_local()) {
            return Err(fault("in the clear, and not on this machine"));
        }
        Ok(Self {
            tls: if is_plain { None } else { Some(tls(&url, roots)?) },
            url,
            plan: Arc::new(plan),
            password,
            connect: Duration::from_millis(u64::from(facts.connect_ms)),
            total: Duration::from_millis(u64::from(facts.total_ms)),
            answer_max: usize::try_from(facts.answer_max).unwrap_or(usize::MAX),
        })
    }

    /// Asks about a user; waits until `since` and the source's own time at most.
    pub(crate) fn ask(&self, body: &[u8], since: Instant) -> Result<Vec<u8>, Failure> {
        let question = DirectoryQuestion::decode(body)
            .map_err(|error| (Unanswered::Broken, format!("the core sent {error}")))?;
        let outcome = self
            .judge(&question, since + self.total)
            .map_err(|(cause, detail)| (cause, format!("{}: {detail}", self.url)))?;
        let mut answer = Vec::new();
        DirectoryAnswer(outcome).encode(&mut answer);
        Ok(answer)
    }

    fn judge(&self, question: &DirectoryQuestion, until: Instant) -> Result<Outcome, Failure> {
        let account = self.password.as_deref().map(SecretString::expose).unwrap_or_default();
        let time_s = self.total.as_secs().max(1).try_into().unwrap_or(u32::MAX);
        let begun = Login::begin(
            Arc::clone(&self.plan),
            account.as_bytes(),
            &question.user,
            &question.password,
            time_s,
        );
        let (mut login, first) = match begun {
            Ok(begun) => begun,
            Err(denial) => return Ok(Outcome::Denied(denial)),
        };
        let mut talk = self.connect(until)?;
        talk.send(&first)?;
        loop {
            let Some(message) = talk.receive()? else { return Ok(Outcome::Denied(Denial::TooMuch)) };
            let response = Response::decode(&message).map_err(trouble)?;
            match login.take(&response).map_err(trouble)? {
                Next::Wait => {}
                Next::Send(bytes) => talk.send(&bytes)?,
                Next::Done(outcome) => {
                    // It is known; whether the directory hears the goodbye does not matter.
                    let _ = talk.stream.send(&unbind(u32::from(u16::MAX)));
                    return Ok(outcome);
                }
            }
        }
    }

    fn connect(&self, until: Instant) -> Result<Talk, Failure> {
        let addresses = self.addresses(until)?;
        let mut last = (Unanswered::Unreachable, "its name has no address".to_owned());
        for address in addresses {
            let left = until.saturating_duration_since(Instant::now()).min(self.connect);
            if left.is_zero() {
                return Err((Unanswered::Slow, "no connection in time".to_owned()));
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    // Small messages back and forth; where this is not known the rest goes on.
                    let _ = stream.set_nodelay(true);
                    return self.secure(Timed { stream, until });
                }
                Err(error) => last = (cause(&error), format!("{address}: {error}")),
            }
        }
        Err(last)
    }

    /// The addresses of the host. The system's search for a name knows no time limit, so it is waited for no longer.
    fn addresses(&self, until: Instant) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = (self.url.host().trim_matches(['[', ']']).to_owned(), self.url.port());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (sender, found) = sync_channel(1);
        let search = move || {
            let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            // Whoever asked may have stopped waiting.
            let _ = sender.try_send(addresses);
        };
        std::thread::Builder::new()
            .name("motte-resolve".into())
            .spawn(search)
            .map_err(|error| (Unanswered::Busy, format!("the system refuses a thread: {error}")))?;
        match found.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err((Unanswered::Unreachable, error.to_string())),
            Err(_) => Err((Unanswered::Slow, "its address was not found in time".to_owned())),
        }
    }

    fn secure(&self, stream: Timed) -> Result<Talk, Failure> {
        let mut talk = Talk { stream: Stream::Plain(stream), received: Vec::new(), left: self.answer_max };
        let Some((config, name)) = &self.tls else { return Ok(talk) };
        if !self.url.is_tls() {
            talk.send(&start_tls(START_TLS_ID))?;
            let answer = talk.receive()?.unwrap_or_default();
            let response = Response::decode(&answer).map_err(trouble)?;
            match response.op {
                Op::Extended(result) if response.id == START_TLS_ID && result.code == 0 => {}
                Op::Extended(result) => return Err(trouble(Trouble::refused("StartTLS", &result))),
                _ => return Err(trouble(Trouble::Unexpected)),
            }
            // What was said in the clear behind the answer could be anybody's.
            if !talk.received.is_empty() {
                return Err(trouble(Trouble::Unexpected));
            }
        }
        let connection = ClientConnection::new(Arc::clone(config), name.clone())
            .map_err(|error| (Unanswered::Broken, error.to_string()))?;
        let Stream::Plain(stream) = talk.stream else { return Err(trouble(Trouble::Unexpected)) };
        let mut tls = StreamOwned::new(connection, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).map_err(|error| {
                let cause = match cause(&error) {
                    Unanswered::Slow => Unanswered::Slow,
                    _ => Unanswered::Unreachable,
                };
                (cause, format!("TLS: {error}"))
            })?;
        }
        Ok(Talk { stream: Stream::Tls(Box::new(tls)), ..talk })
    }
}

impl Talk {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.send(bytes).map_err(|error| (cause(&error), error.to_string()))
    }

    /// The next message; `None` when more comes than may.
    fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut room = [0; ROOM];
        loop {
            match frame(&self.received, self.left) {
                Ok(Framed::Whole(length)) => {
                    let rest = self.received.split_off(length);
                    self.left -= length;
                    return Ok(Some(std::mem::replace(&mut self.received, rest)));
                }
                Ok(Framed::More) if self.received.len() < self.left => {}
                Ok(Framed::More | Framed::TooLong) => return Ok(None),
                Err(error) => return Err(trouble(error)),
            }
            match self.stream.read(&mut room) {
                Ok(0) => return Err((Unanswered::Broken, "the directory ends the connection".to_owned())),
                Ok(count) => self.received.extend_from_slice(room.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err((cause(&error), error.to_string())),
            }
        }
    }
}

fn tls(
    url: &Url,
    roots: &[CertificateDer<'static>],
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let fault = |what: &dyn std::fmt::Display| format!("{url}: {what}");
    let mut store = RootCertStore::empty();
    // Those of a system are taken as far as they can be read.
    store.add_parsable_certificates(roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?
        .with_root_certificates(store)
        .with_no_client_auth();
    let name = ServerName::try_from(url.host().trim_matches(['[', ']']).to_owned())
        .map_err(|error| fault(&error))?;
    Ok((Arc::new(config), name))
}

fn trouble(trouble: impl Into<Trouble>) -> Failure {
    (Unanswered::Broken, trouble.into().to_string())
}

fn cause(error: &std::io::Error) -> Unanswered {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Unanswered::Slow,
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::PermissionDenied => Unanswered::Unreachable,
        _ => Unanswered::Broken,
    }
}
