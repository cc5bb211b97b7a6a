//! The process that connects out, as a thread, and a server of HTTP that it connects to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use motte_config::Config;
use motte_egress::serve_outward;
use motte_roles::{
    Link, OutwardClient, OutwardOrder, OutwardOutcome, OutwardSource, Role, SetId, SourceFacts,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A way out to what a configuration names, over plain HTTP.
pub fn way_out(config: &Config) -> OutwardClient {
    way_out_trusting(config, Vec::new())
}

/// The same, trusting this authority, in PEM.
pub fn way_out_trusting(config: &Config, authorities: Vec<String>) -> OutwardClient {
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::spawn(move || serve_outward(&Link::new(there), &mut |_| Ok(())));
    let supervisor = Link::new(here);
    supervisor.greet(Role::Supervisor, Role::Egress).unwrap();
    let outward = config.outward();
    let source = |one| OutwardSource {
        facts: SourceFacts::of(one),
        authorities: 0,
        headers: Vec::new(),
        password: None,
    };
    let sources = outward.iter().map(source).collect();
    supervisor.send(&OutwardOrder::Load { set: SetId::of(&outward), authorities, sources }).unwrap();
    let (OutwardOutcome::Loaded { faults }, _) = supervisor.receive().unwrap();
    assert_eq!(faults, "");
    let (core, own) = UnixStream::pair().unwrap();
    supervisor.send_with(&OutwardOrder::Serve, own.as_fd()).unwrap();
    let client = OutwardClient::new(Box::new(|| {}));
    client.attach(core).unwrap();
    // It lives as long as the supervisor does, which is the test.
    std::mem::forget(supervisor);
    client
}

type Answer = dyn Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send;

/// A server whose answers can be changed.
#[derive(Clone)]
pub struct Http {
    pub address: SocketAddr,
    answer: Arc<Mutex<Box<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Http {
    pub fn start(answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + 'static) -> Self {
        Self::start_with(None, answer)
    }

    /// As a server of TLS with this certificate.
    pub fn start_tls(
        issued: &motte_pki::Issued,
        answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + 'static,
    ) -> Self {
        let chain = motte_pki::certificates(&issued.certificate_pem).unwrap();
        let key = motte_pki::private_key(issued.key_pem.expose(), None).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start_with(Some(Arc::new(config)), answer)
    }

    fn start_with(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let boxed: Box<Answer> = Box::new(answer);
        let own = Self { address, answer: Arc::new(Mutex::new(boxed)), asked: Arc::default() };
        let server = own.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, tls) = (server.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => server.serve(stream),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        server.serve(StreamOwned::new(connection, stream));
                    }
                });
            }
        });
        own
    }

    /// Answers otherwise from now on.
    pub fn change(&self, answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The bodies it was sent.
    pub fn bodies(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, answer) = {
                self.asked.lock().unwrap().push(String::from_utf8_lossy(&body).into_owned());
                (self.answer.lock().unwrap())(&head, &body)
            };
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", answer.len());
            let stream = reader.get_mut();
            if stream.write_all(&[head.as_bytes(), &answer].concat()).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }
}
