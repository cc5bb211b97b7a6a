//! Directories that are slow, garbage, endless or in the hands of somebody else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use motte_config::Purpose;
use motte_ldap::{Denial, Outcome, PlanText};
use motte_roles::{
    DirectoryAnswer, DirectoryQuestion, Message as _, OutwardSource, SetId, SourceDirectory, SourceFacts,
    Unanswered,
};

use crate::requests::{Egress, facts, plain};

/// A bind that succeeded, for the first request of a login.
const BOUND: &[u8] = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
/// The beginning of StartTLS is agreed to.
const AGREED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";

/// A server that does this with each connection; what it heard is kept.
fn serve(
    answer: impl Fn(&mut TcpStream, &Mutex<Vec<u8>>) + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept: Arc<Mutex<Vec<u8>>> = Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            answer(&mut stream, &kept);
        }
    });
    (address, heard)
}

/// Hears one request.
fn hear(stream: &mut TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut room = [0; 4_096];
    let count = stream.read(&mut room).unwrap_or(0);
    heard.lock().unwrap().extend_from_slice(room.get(..count).unwrap_or_default());
}

fn source(address: SocketAddr, plaintext: bool) -> OutwardSource {
    let bind_as = Some("uid={user},dc=x".to_owned());
    let plan = PlanText { bind_as, ..PlanText::default() };
    let facts = facts(&format!("ldap://{address}"), Purpose::Directory);
    plain(SourceFacts { directory: Some(SourceDirectory { plaintext, plan }), ..facts })
}

fn ask(egress: &Egress) -> Result<Outcome, Unanswered> {
    let question = DirectoryQuestion { user: "ann".to_owned(), password: b"secret".to_vec().into() };
    let mut body = Vec::new();
    question.encode(&mut body);
    egress.ask(0, &body).map(|(_, answer)| DirectoryAnswer::decode(&answer).unwrap().0)
}

#[test]
fn what_is_no_directory_lets_nobody_in_and_has_an_end() {
    type Answer = Box<dyn Fn(&mut TcpStream, &Mutex<Vec<u8>>) + Send>;
    let says = |bytes: &'static [u8]| -> Answer {
        Box::new(move |stream, heard| {
            hear(stream, heard);
            let _ = stream.write_all(bytes);
            hear(stream, heard);
        })
    };
    let drips: Answer = Box::new(|stream, heard| {
        hear(stream, heard);
        let _ = stream.write_all(b"\x30\x82\x03\x00");
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        // A byte at a time, until nobody listens any more; the wait is the time limit of a read that gets nothing.
        while stream.write_all(&[0]).is_ok() {
            let _ = stream.read(&mut [0; 16]);
        }
    });
    for (what, answer, expected) in [
        ("garbage", says(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Unanswered::Broken)),
        ("silence", says(b""), Err(Unanswered::Slow)),
        ("an end in between", Box::new(hear), Err(Unanswered::Broken)),
        (
            "another number",
            says(b"\x30\x0c\x02\x01\x09\x61\x07\x0a\x01\x00\x04\x00\x04\x00"),
            Err(Unanswered::Broken),
        ),
        ("too much", says(b"\x30\x84\x7f\xff\xff\xff"), Ok(Outcome::Denied(Denial::TooMuch))),
        ("an end without the entry", says(BOUND), Err(Unanswered::Broken)),
        ("a byte at a time", drips, Err(Unanswered::Slow)),
    ] {
        let (address, _) = serve(answer);
        let egress = Egress::start(vec![source(address, true)]);
        let begun = Instant::now();
        assert_eq!(ask(&egress), expected, "{what}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{what}");
    }
}

#[test]
fn nothing_secret_is_said_before_there_is_tls() {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (_, authority) = motte_pki::Authority::create("own", now_s).unwrap();
    for said in [
        // Not agreed to; agreed to, with words behind it that could be anybody's; and something else.
        &b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00"[..],
        &[AGREED, BOUND].concat(),
        BOUND,
    ] {
        let said = said.to_vec();
        let (address, heard) = serve(move |stream, heard| {
            hear(stream, heard);
            let _ = stream.write_all(&said);
            hear(stream, heard);
        });
        let mut source = source(address, false);
        source.authorities = 0;
        let egress = Egress::start(Vec::new());
        assert_eq!(egress.load(SetId(1), vec![authority.certificate_pem.clone()], vec![source]), "");
        assert_eq!(ask(&egress), Err(Unanswered::Broken));
        let heard = heard.lock().unwrap();
        assert!(!heard.windows(6).any(|bytes| bytes == b"secret"), "{heard:x?}");
    }
}

#[test]
fn a_directory_without_an_authority_or_elsewhere_in_the_clear_is_not_asked() {
    let egress = Egress::start(Vec::new());
    let here = source("127.0.0.1:1".parse().unwrap(), false);
    assert!(egress.load(SetId(1), Vec::new(), vec![here]).contains("no authority"));
    assert_eq!(ask(&egress), Err(Unanswered::NoSource));
    let elsewhere = source("192.0.2.1:1".parse().unwrap(), true);
    assert!(egress.load(SetId(1), Vec::new(), vec![elsewhere]).contains("not on this machine"));
    assert_eq!(ask(&egress), Err(Unanswered::NoSource));
}
