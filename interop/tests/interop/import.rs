//! Decisions of an imported `acl_file` beside those of the real mosquitto.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use motte_access::{
    AccessDecision, Action, ClientPrincipal, CompiledPolicy, Gate, Methods, Origin, Policy, PolicyGeneration,
    Principal, Security, Subject, Target,
};
use motte_testkit::{DEADLINE, binary, finish, wait_until};
use motte_topic::{TopicFilter, TopicName};

const PASSWORD: &str = "a password of tests";
/// Who writes what readers are to get; it may write everything.
const ORACLE: &str = "oracle";

/// A user name, none for a client without, and a Client Identifier.
type Who = (Option<&'static str>, &'static str);

/// A running mosquitto.
struct Mosquitto {
    child: Child,
    address: SocketAddr,
}

impl Mosquitto {
    fn start(dir: &Path, port: u16) -> Self {
        let mut command = Command::new("mosquitto");
        command.current_dir(dir).args(["-c", "mosquitto.conf"]);
        let child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mosquitto is installed");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("mosquitto listens", || TcpStream::connect(address).is_ok());
        Self { child, address }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of version 5 that speaks bytes.
struct Client(TcpStream);

fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

impl Client {
    fn connect(address: SocketAddr, (user, client_id): Who) -> Self {
        let stream = TcpStream::connect(address).expect("mosquitto listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut client = Self(stream);
        let flags = if user.is_some() { 0xc2 } else { 2 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, flags, 0, 0, 0];
        body.extend(string(client_id));
        for text in user.map(|user| [user, PASSWORD]).iter().flatten() {
            body.extend(string(text));
        }
        client.send(0x10, &body);
        let (first, body) = client.packet();
        assert_eq!((first, body.get(1)), (0x20, Some(&0)), "{user:?} {client_id}");
        client
    }

    fn send(&mut self, first: u8, body: &[u8]) {
        let mut bytes = vec![first];
        let mut left = body.len();
        loop {
            let digit = u8::try_from(left % 128).expect("below 128");
            left /= 128;
            bytes.push(if left > 0 { digit | 128 } else { digit });
            if left == 0 {
                break;
            }
        }
        bytes.extend(body);
        self.0.write_all(&bytes).expect("mosquitto reads");
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.0.read_exact(&mut byte).expect("mosquitto answers");
        byte[0]
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let first = self.byte();
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            let digit = self.byte();
            len |= usize::from(digit & 127) << shift;
            shift += 7;
            if digit < 128 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).expect("mosquitto answers");
        (first, body)
    }

    /// Whether a publication is taken.
    fn publishes(&mut self, topic: &str) -> bool {
        let mut body = string(topic);
        body.extend([0, 1, 0, b'x']);
        self.send(0x32, &body);
        loop {
            let (first, body) = self.packet();
            if first == 0x40 {
                return body.get(2).is_none_or(|reason| *reason < 0x80);
            }
        }
    }

    fn subscribe(&mut self, topics: &[String]) {
        let mut body = vec![0, 2, 0];
        for topic in topics {
            body.extend(string(topic));
            body.push(0);
        }
        self.send(0x82, &body);
        while self.packet().0 != 0x90 {}
    }

    /// The topics of the messages that are there.
    fn received(&mut self) -> BTreeSet<String> {
        self.send(0xc0, &[]);
        let mut topics = BTreeSet::new();
        loop {
            let (first, body) = self.packet();
            match (first >> 4, body.as_slice()) {
                (3, [high, low, rest @ ..]) => {
                    let len = usize::from(*high) << 8 | usize::from(*low);
                    let topic = rest.get(..len).expect("a topic");
                    topics.insert(String::from_utf8_lossy(topic).into_owned());
                }
                (13, _) => return topics,
                _ => {}
            }
        }
    }
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.get(self.below(of.len())).expect("it is below")
    }

    fn topic(&mut self, levels: &[&str], wildcards: bool) -> String {
        let mut text = self.one(levels).to_owned();
        for _ in 0..self.below(3) {
            text.push('/');
            text.push_str(self.one(levels));
        }
        if wildcards && self.below(4) == 0 {
            text.push_str("/#");
        }
        text
    }

    /// An `acl_file`; denying patterns only where they are asked for.
    fn acl(&mut self, users: &[&str], denying_patterns: bool) -> String {
        let levels = ["a", "b", "alice", "bob", "+", "x y"];
        let of_patterns = ["%u", "%c", "a", "+", "b%u", "alice"];
        let access = |random: &mut Self| {
            random.one(&["read", "write", "readwrite", "deny", "read", "write"]).to_owned()
        };
        let mut text = String::new();
        for section in std::iter::once(None).chain(users.iter().map(Some)) {
            text.extend(section.map(|user| format!("user {user}\n")));
            for _ in 0..self.below(6) {
                text.push_str(&format!("topic {} {}\n", access(self), self.topic(&levels, true)));
            }
            if self.below(3) == 0 {
                text.push_str(&format!("topic {}\n", self.topic(&["a", "b", "+"], true)));
            }
        }
        for _ in 0..self.below(6) {
            let access = access(self);
            let access = if access == "deny" && !denying_patterns { "read".to_owned() } else { access };
            text.push_str(&format!("pattern {access} {}\n", self.topic(&of_patterns, true)));
        }
        text.push_str(&format!("user {ORACLE}\ntopic readwrite #\n"));
        text
    }
}

/// What is asked of the Gate.
struct Ask<'t>(Action, Target<'t>);

impl Subject for Ask<'_> {
    fn action(&self) -> Action {
        self.0
    }
    fn target(&self) -> Target<'_> {
        self.1
    }
    fn qos(&self) -> u8 {
        1
    }
    fn retain(&self) -> bool {
        self.0 == Action::Publish
    }
    fn payload_bytes(&self) -> usize {
        1
    }
}

/// What the imported policy says.
struct Imported(Gate);

impl Imported {
    fn read(dir: &Path) -> Self {
        let text = std::fs::read_to_string(dir.join("policy.toml")).expect("the import writes it");
        let policy =
            Policy::parse(&text, "policy.toml").expect("the import writes policies that can be read");
        Self(Gate::new(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(1)))))
    }

    fn permits(&self, (user, client_id): Who, action: Action, target: Target<'_>) -> bool {
        let principal = Principal::Client(ClientPrincipal {
            identity: Arc::from(user.unwrap_or("anonymous")),
            client_id: Arc::from(client_id),
            token: None,
            ends_s: None,
            directory: None,
            user_name: user.map(Arc::from),
            certificate: None,
            methods: if user.is_some() { Methods::PASSWORD } else { Methods::ANONYMOUS },
            listener: Arc::from("tcp"),
            security: Security::Plain,
            address: None,
            credential: 0,
        });
        let mut standing = self.0.standing(Arc::new(principal));
        #[expect(clippy::disallowed_methods, reason = "the test asks what the broker would ask")]
        let decision = self.0.decide(&mut standing, Origin::Publish, Ask(action, target));
        matches!(decision, AccessDecision::Permit(_))
    }
}

/// Whether a denying pattern speaks of a topic: there the import is stricter on purpose.
fn a_pattern_denies(acl: &str, (user, client_id): Who, topic: &TopicName) -> bool {
    let patterns = acl.lines().filter_map(|line| line.strip_prefix("pattern deny "));
    let filled = patterns.map(|one| one.replace("%u", user.unwrap_or("%u")).replace("%c", client_id));
    filled.filter_map(|one| TopicFilter::parse(one).ok()).any(|filter| filter.matches(topic.as_ref()))
}

/// Both brokers about everybody and every topic; gives how many decisions were compared, and in how many the import is
/// stricter.
fn compare(acl: &str, everybody: &[Who], users: &[&str], topics: &[String]) -> (usize, usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        probe.local_addr().expect("it is bound").port()
    };
    let mut conf = format!("listener {port} 127.0.0.1\nallow_anonymous true\nacl_file acl\n");
    if !users.is_empty() {
        conf.push_str("password_file passwords\n");
        std::fs::write(dir.path().join("passwords"), "").expect("a file");
        for user in users.iter().chain([&ORACLE]) {
            let mut command = Command::new("mosquitto_passwd");
            command.current_dir(dir.path()).args(["-b", "passwords", user, PASSWORD]);
            let (good, text) = finish(&mut command);
            assert!(good, "{text}");
        }
    }
    std::fs::write(dir.path().join("mosquitto.conf"), conf).expect("a file");
    std::fs::write(dir.path().join("acl"), acl).expect("a file");
    let mut import = Command::new(binary());
    import.current_dir(dir.path()).args(["import", "mosquitto", "mosquitto.conf", "--out", "motte"]);
    let (good, text) = finish(&mut import);
    assert!(good, "{text}\n{acl}");
    let imported = Imported::read(&dir.path().join("motte"));
    let mosquitto = Mosquitto::start(dir.path(), port);
    let (mut compared, mut stricter) = (0, 0);
    for who in everybody {
        let mut client = Client::connect(mosquitto.address, *who);
        let published: Vec<bool> = topics.iter().map(|topic| client.publishes(topic)).collect();
        client.subscribe(topics);
        // Without users of its own the oracle is anonymous, and may write what anonymous clients may; see below.
        let oracle: Who = if users.is_empty() { (None, ORACLE) } else { (Some(ORACLE), ORACLE) };
        let mut oracle = Client::connect(mosquitto.address, oracle);
        let written: Vec<bool> = topics.iter().map(|topic| oracle.publishes(topic)).collect();
        let received = client.received();
        for (text, (published, written)) in topics.iter().zip(published.into_iter().zip(written)) {
            let topic = TopicName::parse(text).expect("a topic");
            let theirs = [published, received.contains(text)];
            let target = Target::Topic(topic.as_ref());
            let ours =
                [Action::Publish, Action::Receive].map(|action| imported.permits(*who, action, target));
            for (action, (ours, theirs)) in ["publish", "receive"].iter().zip(ours.into_iter().zip(theirs)) {
                if *action == "receive" && !written {
                    continue;
                }
                compared += 1;
                stricter += usize::from(theirs && !ours);
                assert!(theirs || !ours, "{who:?} may {action} {text}, and may not in mosquitto\n{acl}");
                let why = || a_pattern_denies(acl, *who, &topic);
                assert!(
                    ours || !theirs || why(),
                    "{who:?} may not {action} {text}, and may in mosquitto\n{acl}"
                );
            }
            let filter = TopicFilter::exactly(topic.as_ref()).expect("a filter");
            let subscribes = imported.permits(*who, Action::Subscribe, Target::Filter(&filter));
            assert_eq!(subscribes, ours[1], "{who:?} and the filter {text}\n{acl}");
        }
    }
    (compared, stricter)
}

const USERS: [&str; 4] = ["alice", "bob", "none", "c d"];
const NAMED: [Who; 5] = [
    (Some("alice"), "alice"),
    (Some("alice"), "alice-1"),
    (Some("bob"), "bob"),
    (Some("none"), "none"),
    (Some("c d"), "c d"),
];

fn topics(random: &mut Random, count: usize) -> Vec<String> {
    let levels = ["a", "b", "alice", "bob", "alice-1", "none", "balice", "x y"];
    let all: BTreeSet<String> = (0..count).map(|_| random.topic(&levels, false)).collect();
    all.into_iter().collect()
}

#[test]
fn an_imported_acl_decides_as_mosquitto_does() {
    let mut random = Random(20_261_121);
    let mut compared = 0;
    for _ in 0..8 {
        let acl = random.acl(&["alice", "bob", "c d"], false);
        let topics = topics(&mut random, 100);
        let (count, stricter) = compare(&acl, &NAMED, &USERS, &topics);
        assert_eq!(stricter, 0, "{acl}");
        compared += count;
    }
    assert!(compared > 5_000, "{compared}");
}

#[test]
fn an_imported_acl_is_stricter_only_where_a_pattern_denies() {
    let mut random = Random(7);
    for _ in 0..3 {
        let acl = random.acl(&["alice", "bob"], true);
        let topics = topics(&mut random, 60);
        compare(&acl, &NAMED, &USERS, &topics);
    }
    let acl = "user alice\ntopic readwrite a/#\npattern deny a/%u/#\nuser oracle\ntopic #\n";
    let topics = ["a/alice/x".to_owned(), "a/b".to_owned()];
    let (_, stricter) = compare(acl, &NAMED[..1], &USERS, &topics);
    assert_eq!(stricter, 2, "publishing and receiving a/alice/x");
}

#[test]
fn clients_without_a_name_may_what_they_could() {
    let mut random = Random(99);
    for _ in 0..3 {
        let acl = random.acl(&["alice"], false);
        let topics = topics(&mut random, 60);
        let (_, stricter) = compare(&acl, &[(None, "alice"), (None, "someone")], &[], &topics);
        assert_eq!(stricter, 0, "{acl}");
    }
}

#[test]
fn what_is_imported_passes_the_check() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let conf = "listener 1883\nallow_anonymous true\nacl_file acl\n";
    std::fs::write(dir.path().join("mosquitto.conf"), conf).expect("a file");
    std::fs::write(dir.path().join("acl"), "topic read news/#\nuser alice\ntopic #\n").expect("a file");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        finish(command.current_dir(dir.path()).args(arguments))
    };
    let (good, text) = run(&["import", "mosquitto", "mosquitto.conf"]);
    assert!(good, "{text}");
    let (good, text) = run(&["check", "--config", "motte/motte.toml"]);
    assert!(good, "{text}");
    let (good, text) = run(&["import", "mosquitto", "mosquitto.conf"]);
    assert!(!good && text.contains("is not empty"), "{text}");
}
