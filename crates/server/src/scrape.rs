//! The metrics listener: just enough HTTP/1.1 to answer GET /metrics, on loopback or a Unix socket, from a thread of its
//! own. One request a connection, one connection at a time, every wait bounded.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use motte_config::Endpoint;
use motte_transport::Listening;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

const REQUEST_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;
/// Time for a whole request and its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The bound listener, before it serves.
pub(crate) struct BoundScrape {
    listening: Listening,
    place: Place,
}

impl BoundScrape {
    /// Binds.
    ///
    /// # Errors
    /// What the system says about the address, with the remedy.
    pub(crate) fn bind(endpoint: &Endpoint) -> Result<Listening, String> {
        let bound = match endpoint {
            Endpoint::Tcp(address) => TcpListener::bind(address).map(Listening::Tcp),
            Endpoint::Unix(path) => bind_unix(path).map(Listening::Unix),
        };
        bound.map_err(|error| {
            let place = match endpoint {
                Endpoint::Tcp(address) => address.to_string(),
                Endpoint::Unix(path) => path.display().to_string(),
            };
            format!(
                "metrics cannot listen on {place}: {error}\n  remedy: choose another address in metrics.bind, or stop what listens there"
            )
        })
    }

    /// Of a bound listener.
    ///
    /// # Errors
    /// When the system does not say where it listens.
    pub(crate) fn new(listening: Listening, endpoint: &Endpoint) -> io::Result<Self> {
        let place = match (&listening, endpoint) {
            (Listening::Tcp(listener), _) => Place::Tcp(listener.local_addr()?),
            (Listening::Unix(_), Endpoint::Unix(path)) => Place::Unix(path.clone()),
            (Listening::Unix(_), Endpoint::Tcp(_)) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        Ok(Self { listening, place })
    }

    /// Serves what `page` gives from now on.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(crate) fn serve(self, page: impl Fn() -> String + Send + 'static) -> io::Result<Scrape> {
        let Self { listening, place } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        match &listening {
            Listening::Tcp(listener) => listener.set_nonblocking(true)?,
            Listening::Unix(listener) => listener.set_nonblocking(true)?,
        }
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let woken = Arc::clone(&wake);
        let thread = std::thread::Builder::new()
            .name("motte-metrics".into())
            .spawn(move || serve(&listening, &place, (&stopped, &woken), &page))?;
        Ok(Scrape { thread, stop, wake })
    }
}

/// The running listener.
pub(crate) struct Scrape {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// Ends the wait for the next connection. The listening socket may be another's as well, so it is left alone.
    wake: Arc<OwnedFd>,
}

impl Scrape {
    /// Stops serving.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).is_ok() {
            let _ = self.thread.join();
        }
    }
}

fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
            // Nobody answers there: the socket was left behind by a process that is gone.
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn serve(
    listening: &Listening,
    place: &Place,
    (stop, wake): (&AtomicBool, &OwnedFd),
    page: &dyn Fn() -> String,
) {
    while !stop.load(Ordering::Acquire) {
        let descriptor = listening.descriptor();
        let mut awaited = [PollFd::new(&descriptor, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        // Interrupted, or refused: then accepting says what there is.
        let _ = poll(&mut awaited, None);
        let answered = match listening {
            Listening::Tcp(listener) => listener.accept().and_then(|(mut stream, _)| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                answer(&mut stream, page)
            }),
            Listening::Unix(listener) => listener.accept().and_then(|(mut stream, _)| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                answer(&mut stream, page)
            }),
        };
        let failed = answered
            .is_err_and(|error| error.raw_os_error().is_some() && error.kind() != io::ErrorKind::WouldBlock);
        if failed && !stop.load(Ordering::Acquire) {
            // Out of descriptors, most likely: wait instead of spinning.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
    if let Place::Unix(path) = place {
        let _ = std::fs::remove_file(path);
    }
}

fn answer(stream: &mut (impl Read + Write), page: &dyn Fn() -> String) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::with_capacity(1024);
    let mut chunk = [0; 1024];
    let status = loop {
        match status_of(&request) {
            Some(status) => break status,
            None if request.len() >= REQUEST_BYTES_MAX => break 431,
            None if Instant::now() >= deadline => break 408,
            None => {}
        }
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(chunk.get(..count).unwrap_or_default());
    };
    let (reason, body) = match status {
        200 => ("OK", page()),
        404 => ("Not Found", "only /metrics is here\n".to_owned()),
        405 => ("Method Not Allowed", "only GET is answered\n".to_owned()),
        408 => ("Request Timeout", String::new()),
        431 => ("Request Header Fields Too Large", String::new()),
        _ => ("Bad Request", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The status that answers a request, or `None` while it has not arrived whole.
fn status_of(request: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => Some(431),
        Err(_) => Some(400),
        Ok(httparse::Status::Complete(_)) => Some(match (parsed.method, parsed.path) {
            (Some("GET"), Some("/metrics")) => 200,
            (Some("GET"), _) => 404,
            _ => 405,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn ask(place: &Place, request: &[u8]) -> String {
        let Place::Tcp(address) = place else { panic!("a TCP place") };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn only_get_metrics_is_answered_with_the_page() {
        let endpoint = Endpoint::Tcp("127.0.0.1:0".parse().unwrap());
        let bound = BoundScrape::new(BoundScrape::bind(&endpoint).unwrap(), &endpoint).unwrap();
        let place = bound.place.clone();
        let scrape = bound.serve(|| "a 1\n".to_owned()).unwrap();
        let page = ask(&place, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\na 1\n"), "{page}");
        assert!(ask(&place, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(&place, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask(&place, b"\x10\x0c\0\x04MQTT\r\n\r\n").starts_with("HTTP/1.1 400 "));
        scrape.stop();
    }
}
