//! What is asked, what comes back, and what does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use motte_config::Purpose;
use motte_egress::serve_outward;
use motte_roles::{
    Header, Link, OutwardClient, OutwardError, OutwardOrder, OutwardOutcome, OutwardSource, Role, SetId,
    SourceFacts, Unanswered,
};
use motte_seal::SecretString;

use crate::http::{reply, serve};

const TIME: Duration = Duration::from_secs(5);

pub(crate) fn facts(url: &str, purpose: Purpose) -> SourceFacts {
    SourceFacts {
        url: url.to_owned(),
        purpose,
        connect_ms: 1_000,
        total_ms: 1_500,
        request_max: 1_000,
        answer_max: 1_000,
        outstanding: 2,
        described: None,
        directory: None,
    }
}

pub(crate) struct Egress {
    supervisor: Link,
    client: OutwardClient,
}

impl Egress {
    pub(crate) fn start(sources: Vec<OutwardSource>) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve_outward(&Link::new(there), &mut |_| Ok(())));
        let supervisor = Link::new(here);
        supervisor.greet(Role::Supervisor, Role::Egress).unwrap();
        let own = Self { supervisor, client: OutwardClient::new(Box::new(|| {})) };
        assert_eq!(own.load(SetId(1), Vec::new(), sources), "");
        own.serve();
        own
    }

    pub(crate) fn load(&self, set: SetId, authorities: Vec<String>, sources: Vec<OutwardSource>) -> String {
        self.supervisor.send(&OutwardOrder::Load { set, authorities, sources }).unwrap();
        let (OutwardOutcome::Loaded { faults }, _) = self.supervisor.receive().unwrap();
        faults
    }

    fn serve(&self) {
        let (here, there) = UnixStream::pair().unwrap();
        self.supervisor.send_with(&OutwardOrder::Serve, there.as_fd()).unwrap();
        self.client.attach(here).unwrap();
    }

    pub(crate) fn ask(&self, source: u16, body: &[u8]) -> Result<(u16, Vec<u8>), Unanswered> {
        match self.client.ask(SetId(1), source, body, TIME) {
            Ok(answer) => Ok((answer.status, answer.body)),
            Err(OutwardError::Unanswered { cause, .. }) => Err(cause),
            Err(other) => panic!("{other}"),
        }
    }
}

pub(crate) fn plain(facts: SourceFacts) -> OutwardSource {
    OutwardSource { facts, authorities: u8::MAX, headers: Vec::new(), password: None }
}

#[test]
fn a_source_is_asked_by_its_number_with_its_secrets() {
    let (address, heard) = serve(|_, stream| reply(stream, "200 OK", b"yes"));
    let mut hook = plain(facts(&format!("http://{address}/auth?x=1"), Purpose::Hook));
    let value = Arc::new(SecretString::new("Bearer 7".to_owned()));
    hook.headers = vec![Header { name: "authorization".to_owned(), value }];
    let list = plain(facts(&format!("http://{address}/list.crl"), Purpose::RevocationList));
    let status = plain(facts(&format!("http://{address}/ocsp"), Purpose::Ocsp));
    let egress = Egress::start(vec![hook, list, status]);
    assert_eq!(egress.ask(0, b"{}"), Ok((200, b"yes".to_vec())));
    assert_eq!(egress.ask(1, b""), Ok((200, b"yes".to_vec())));
    assert_eq!(egress.ask(2, &[0x30, 0]), Ok((200, b"yes".to_vec())));
    assert_eq!(egress.ask(3, b""), Err(Unanswered::NoSource));
    let asked = egress.client.ask(SetId(2), 0, b"", TIME);
    assert!(
        matches!(asked, Err(OutwardError::Unanswered { cause: Unanswered::NoSource, .. })),
        "of no configuration"
    );
    let requests = heard.lock().unwrap();
    let (first, body) = &requests[0];
    assert!(first.starts_with("POST /auth?x=1 HTTP/1.1\r\n"), "{first}");
    assert!(
        first.contains("authorization: Bearer 7\r\n") && first.contains("content-type: application/json\r\n"),
        "{first}"
    );
    assert_eq!(body, b"{}");
    assert!(
        requests[1].0.starts_with("GET /list.crl HTTP/1.1\r\n") && !requests[1].0.contains("Bearer"),
        "{}",
        requests[1].0
    );
    let (third, body) = &requests[2];
    assert!(third.starts_with("POST /ocsp HTTP/1.1\r\n"), "{third}");
    assert!(third.contains("content-type: application/ocsp-request\r\n"), "{third}");
    assert_eq!(body, &[0x30, 0]);
}

#[test]
fn an_answer_is_bounded_and_a_redirection_is_an_answer() {
    let (elsewhere, heard) = serve(|_, stream| reply(stream, "200 OK", b"elsewhere"));
    let (address, _) = serve(move |head, stream| {
        if head.starts_with("GET /long") {
            reply(stream, "200 OK", &[7; 1_001]);
        } else if head.starts_with("GET /endless") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while stream.write_all(b"10\r\n0123456789abcdef\r\n").is_ok() {}
        } else if head.starts_with("GET /head") {
            while stream
                .write_all(b"HTTP/1.1 200 OK\r\nx: ")
                .and_then(|()| stream.write_all(&[b'x'; 9_999]))
                .is_ok()
            {}
        } else if head.starts_with("GET /moved") {
            let text =
                format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(text.as_bytes());
        } else if head.starts_with("GET /cut") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
            let _ = stream.shutdown(std::net::Shutdown::Both);
        } else {
            let _ = stream.write_all(b"SSH-2.0-no\r\n\r\n");
        }
    });
    let paths = ["long", "endless", "head", "moved", "cut", "nonsense"];
    let list = |path| plain(facts(&format!("http://{address}/{path}"), Purpose::RevocationList));
    let egress = Egress::start(paths.into_iter().map(list).collect());
    assert_eq!(egress.ask(0, b""), Err(Unanswered::TooLong));
    assert_eq!(egress.ask(1, b""), Err(Unanswered::TooLong));
    assert!(egress.ask(2, b"").is_err());
    assert_eq!(egress.ask(3, b"").map(|(status, _)| status), Ok(302));
    assert_eq!(egress.ask(4, b""), Err(Unanswered::Broken));
    assert_eq!(egress.ask(5, b""), Err(Unanswered::Broken));
    assert!(heard.lock().unwrap().is_empty(), "nobody went there");
}

#[test]
fn nobody_there_and_nobody_who_answers() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_at = silent.local_addr().unwrap();
    let list = |address| plain(facts(&format!("http://{address}/"), Purpose::RevocationList));
    let egress = Egress::start(vec![list(gone), list(silent_at)]);
    assert_eq!(egress.ask(0, b""), Err(Unanswered::Unreachable));
    let since = Instant::now();
    assert_eq!(egress.ask(1, b""), Err(Unanswered::Slow));
    assert!(since.elapsed() < Duration::from_secs(4));
    drop(silent);
}

#[test]
fn a_source_is_asked_so_often_at_once_and_no_more() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let meet = Arc::new(Barrier::new(2));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let (address, _) = serve(move |_, stream| {
        peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        meet.wait();
        counted.fetch_sub(1, Ordering::SeqCst);
        reply(stream, "200 OK", b"");
    });
    let egress = Egress::start(vec![plain(facts(&format!("http://{address}/"), Purpose::Hook))]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(egress.ask(0, b"{}"), Ok((200, Vec::new()))));
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

/// A server of TLS with a certificate of this authority, that says yes.
fn serve_tls(issued: &motte_pki::Issued) -> SocketAddr {
    let chain = motte_pki::certificates(&issued.certificate_pem).unwrap();
    let key = motte_pki::private_key(issued.key_pem.expose(), None).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, tcp);
            // Whoever does not trust the certificate is gone by now.
            if tls.read(&mut [0; 4_096]).is_ok_and(|count| count > 0) {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes");
            }
        }
    });
    address
}

#[test]
fn only_a_server_of_the_named_authorities_and_of_its_name_is_asked() {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (authority, root) = motte_pki::Authority::create("own", now_s).unwrap();
    let (_, stranger) = motte_pki::Authority::create("other", now_s).unwrap();
    let port = serve_tls(&authority.server(&["localhost".to_owned()], &[], now_s).unwrap()).port();
    let of = |authorities, host: &str| OutwardSource {
        authorities,
        ..plain(facts(&format!("https://{host}:{port}/"), Purpose::Hook))
    };
    let egress = Egress::start(Vec::new());
    let texts = vec![root.certificate_pem.clone(), stranger.certificate_pem.clone()];
    let sources = vec![of(0, "localhost"), of(1, "localhost"), of(0, "127.0.0.1")];
    assert_eq!(egress.load(SetId(1), texts, sources), "");
    assert_eq!(egress.ask(0, b"{}"), Ok((200, b"yes".to_vec())));
    assert_eq!(egress.ask(1, b"{}"), Err(Unanswered::Unreachable), "another authority");
    assert_eq!(egress.ask(2, b"{}"), Err(Unanswered::Unreachable), "another name");
}

#[test]
fn sources_of_earlier_configurations_stay_while_they_are_asked() {
    let (address, _) = serve(|_, stream| reply(stream, "200 OK", b""));
    let list = || vec![plain(facts(&format!("http://{address}/"), Purpose::RevocationList))];
    let egress = Egress::start(list());
    for set in 2..30 {
        assert_eq!(egress.load(SetId(set), Vec::new(), list()), "");
        assert_eq!(egress.ask(0, b""), Ok((200, Vec::new())), "reloads that were refused change nothing");
    }
    assert!(egress.client.ask(SetId(2), 0, b"", TIME).is_err(), "nobody asked for it");
    assert!(egress.client.ask(SetId(29), 0, b"", TIME).is_ok());
}

#[test]
fn without_authorities_tls_is_a_fault() {
    let egress = Egress::start(Vec::new());
    let source = plain(facts("https://localhost:9/", Purpose::Hook));
    let faults = egress.load(SetId(3), vec!["no certificate".to_owned()], vec![source]);
    assert!(faults.contains("https://localhost:9/") && faults.contains("remedy"), "{faults}");
}

#[test]
fn who_waits_for_a_process_that_ends_hears_so_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut slow = facts(&format!("http://{address}/"), Purpose::Hook);
    slow.total_ms = 60_000;
    let egress = Egress::start(vec![plain(slow)]);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| egress.client.ask(SetId(1), 0, b"{}", Duration::from_secs(60)));
        // The request is under way.
        drop(silent.accept().unwrap());
        egress.client.close();
        assert!(matches!(asker.join().unwrap(), Err(OutwardError::Away | OutwardError::Unanswered { .. })));
    });
    assert_eq!(egress.client.ask(SetId(1), 0, b"{}", TIME), Err(OutwardError::Away));
}
