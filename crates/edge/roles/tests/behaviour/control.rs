//! What operators ask: the messages hold whatever arrives, and the admin process as its three neighbours see it.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use motte_roles::{
    AdminAsks, AdminOrder, AdminSays, Admitted, CONTROL_VERSION, ClientPage, ClientSummary, Code,
    ControlAnswer, ControlRefusal, ControlRequest, CoreAnswer, CoreReply, CoreRequest, Greeting, Link,
    LinkError, Malformed, Message, OPERATORS_MAX, Operator, Report, Role, StepUp, SupervisorAnswer,
    SupervisorRequest, serve_control,
};
use proptest::prelude::*;

use crate::messages::{step_up, survives};

fn core_request() -> impl Strategy<Value = CoreRequest> {
    prop_oneof![
        Just(CoreRequest::Status),
        (proptest::option::of(".{0,40}"), any::<bool>(), any::<u16>())
            .prop_map(|(after, connected, most)| CoreRequest::Clients { after, connected, most }),
        ".{0,40}".prop_map(|client_id| CoreRequest::Client { client_id }),
        ".{0,40}".prop_map(|client_id| CoreRequest::Disconnect { client_id }),
        Just(CoreRequest::BeginSlots),
        Just(CoreRequest::SecondFactors),
    ]
}

fn client() -> impl Strategy<Value = ClientSummary> {
    (".{0,40}", ".{0,20}", any::<bool>(), any::<u64>(), any::<u32>()).prop_map(
        |(client_id, identity, connected, since_unix_ms, queued)| ClientSummary {
            client_id,
            identity,
            connected,
            listener: "tls".to_owned(),
            address: String::new(),
            since_unix_ms,
            subscriptions: 7,
            queued,
        },
    )
}

fn core_answer() -> impl Strategy<Value = CoreAnswer> {
    prop_oneof![
        Just(CoreAnswer::Done),
        "[0-9a-f]{64}".prop_map(|challenge| CoreAnswer::VaultChallenge { challenge }),
        proptest::collection::vec(".{0,20}", 0..5)
            .prop_map(|accounts| CoreAnswer::SecondFactors { accounts }),
        ".{0,90}".prop_map(|cause| CoreAnswer::Refused { cause }),
        (proptest::collection::vec(client(), 0..5), any::<bool>())
            .prop_map(|(clients, more)| CoreAnswer::Clients { page: ClientPage { clients, more } }),
    ]
}

proptest! {
    #[test]
    fn every_request_and_answer_survives_its_way(
        id in any::<u64>(), uid in any::<u32>(), request in core_request(), answer in core_answer(),
        text in proptest::option::of(".{0,90}"), step_up in proptest::option::of(step_up()), members in proptest::collection::vec(any::<u32>(), 0..5)
    ) {
        survives(&ControlRequest::Core { request: request.clone(), step_up: step_up.clone() });
        survives(&AdminSays::Request { id, operator: Operator { uid, step_up: step_up.clone() }, request });
        survives(&AdminSays::TurnedAway { uid, cause: text.clone().unwrap_or_default() });
        survives(&ControlAnswer::Core { answer: answer.clone() });
        survives(&CoreReply { id, answer });
        for request in [SupervisorRequest::Processes, SupervisorRequest::Reload, SupervisorRequest::Stop] {
            survives(&ControlRequest::Supervisor { request: request.clone(), step_up: step_up.clone() });
            survives(&AdminAsks::Request { id, operator: Operator { uid, step_up: step_up.clone() }, request });
        }
        survives(&AdminOrder::Reply { id, answer: SupervisorAnswer::Reloaded { fault: text } });
        survives(&AdminOrder::Listen { admitted: Admitted { uid, gid: Some(uid), members } });
        survives(&ControlAnswer::Refused { cause: ControlRefusal::NotPermitted { uid } });
        survives(&Greeting { version: 9, motte: "9.9".to_owned() });
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), kinds in any::<[u8; 2]>()) {
        let mut bytes = bytes;
        for (byte, kind) in bytes.iter_mut().zip(kinds) {
            *byte = kind % 6;
        }
        let _ = (ControlRequest::decode(&bytes), ControlAnswer::decode(&bytes), Greeting::decode(&bytes));
        let _ = (AdminSays::decode(&bytes), AdminAsks::decode(&bytes), AdminOrder::decode(&bytes));
        let _ = CoreReply::decode(&bytes);
    }
}

#[test]
fn a_length_is_believed_only_as_far_as_bytes_are_there() {
    let list = |count: u16| [&[1, 2][..], &count.to_le_bytes()].concat();
    assert_eq!(ControlAnswer::decode(&list(4_096)), Err(Malformed::Short));
    assert_eq!(ControlAnswer::decode(&list(4_097)), Err(Malformed::Bound));
    assert_eq!(ControlRequest::decode(&[1, 3, 255, 255, 255, 255]), Err(Malformed::Bound));
    // A longer text is cut by whoever writes it, at a character's end.
    let client_id = "\u{e9}".repeat(40_000);
    let mut bytes = Vec::new();
    ControlRequest::Core { request: CoreRequest::Client { client_id }, step_up: None }.encode(&mut bytes);
    let request = ControlRequest::decode(&bytes).unwrap();
    let ControlRequest::Core { request: CoreRequest::Client { client_id }, .. } = request else { panic!() };
    assert_eq!(client_id.len(), 65_534);
}

#[test]
fn whoever_is_slow_is_cut_off_at_the_deadline_however_it_is_slow() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let link = Link::new(here);
    let until = Instant::now() + Duration::from_millis(300);
    let dripping = std::thread::spawn(move || {
        there.write_all(&60_u32.to_le_bytes()).unwrap();
        while there.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    assert!(link.receive_by::<ControlRequest>(until).unwrap_err().is_timeout());
    drop(link);
    dripping.join().unwrap();

    let (here, mut there) = UnixStream::pair().unwrap();
    let link = Link::new(here);
    let cause = "x".repeat(65_535);
    let filters = vec![cause; 12];
    let admitted = Admitted { uid: 0, gid: None, members: Vec::new() };
    assert!(link.send_by(&AdminOrder::Listen { admitted }, Instant::now() + Duration::from_secs(5)).is_ok());
    let reply = CoreAnswer::Client { client: Box::new(detail(filters)) };
    let until = Instant::now() + Duration::from_millis(300);
    assert!(link.send_by(&CoreReply { id: 1, answer: reply }, until).unwrap_err().is_timeout());
    assert!(there.read(&mut [0; 16]).unwrap() > 0);
}

fn detail(filters: Vec<String>) -> motte_roles::ClientDetail {
    let summary = ClientSummary {
        client_id: "a".to_owned(),
        identity: "a".to_owned(),
        connected: true,
        listener: String::new(),
        address: String::new(),
        since_unix_ms: 0,
        subscriptions: 0,
        queued: 0,
    };
    motte_roles::ClientDetail { summary, protocol: 5, in_flight: 0, queued_bytes: 0, filters }
}

#[test]
fn root_the_user_and_the_group_are_admitted_and_nobody_else() {
    let admitted = Admitted { uid: 100, gid: Some(200), members: vec![301] };
    for (uid, gid) in [(0, 0), (100, 5), (300, 200), (301, 301)] {
        assert!(admitted.admits(uid, gid), "{uid} {gid}");
    }
    for (uid, gid) in [(200, 100), (300, 0), (302, 302), (65_534, 65_534)] {
        assert!(!admitted.admits(uid, gid), "{uid} {gid}");
    }
    let alone = Admitted { uid: 100, gid: None, members: Vec::new() };
    assert!(alone.admits(100, 0) && !alone.admits(1, 0));
}

/// An admin process in a thread, with those around it.
struct Admin {
    supervisor: Link,
    core: Link,
    socket: std::path::PathBuf,
    _dir: tempfile::TempDir,
    process: std::thread::JoinHandle<Result<(), LinkError>>,
}

impl Admin {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        let process = std::thread::spawn(move || serve_control(&Link::new(there)));
        let supervisor = Link::new(here);
        supervisor.greet(Role::Supervisor, Role::Admin).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let admitted = Admitted { uid, gid: None, members: Vec::new() };
        supervisor.send_with(&AdminOrder::Listen { admitted }, listener.as_fd()).unwrap();
        let (core, for_admin) = UnixStream::pair().unwrap();
        supervisor.send_with(&AdminOrder::Core, for_admin.as_fd()).unwrap();
        let core = Link::new(core);
        core.greet(Role::Core, Role::Admin).unwrap();
        Self { supervisor, core, socket, _dir: dir, process }
    }

    fn greeted(&self) -> Link {
        let link = Link::new(UnixStream::connect(&self.socket).unwrap());
        link.socket().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (greeting, _) = link.receive::<Greeting>().unwrap();
        assert_eq!(greeting.version, CONTROL_VERSION);
        link
    }

    fn operator(&self) -> Link {
        let link = self.greeted();
        link.send(&Greeting::own()).unwrap();
        link
    }
}

#[test]
fn a_request_reaches_who_can_answer_it_with_the_name_of_who_asks() {
    let admin = Admin::start();
    let operator = admin.operator();
    operator.send(&ControlRequest::Core { request: CoreRequest::Status, step_up: None }).unwrap();
    let (says, _) = admin.core.receive::<AdminSays>().unwrap();
    let AdminSays::Request { id, operator: who, request } = says else { panic!("{says:?}") };
    assert_eq!((who.uid, request), (rustix::process::getuid().as_raw(), CoreRequest::Status));
    // An answer to something that nobody asked is no answer.
    admin.core.send(&CoreReply { id: id + 7, answer: CoreAnswer::Done }).unwrap();
    let cause = "the right one".to_owned();
    admin.core.send(&CoreReply { id, answer: CoreAnswer::Refused { cause: cause.clone() } }).unwrap();
    let (answer, _) = operator.receive::<ControlAnswer>().unwrap();
    assert_eq!(answer, ControlAnswer::Core { answer: CoreAnswer::Refused { cause } });

    operator.send(&ControlRequest::Supervisor { request: SupervisorRequest::Reload, step_up: None }).unwrap();
    let (AdminAsks::Request { id, request, .. }, _) = admin.supervisor.receive().unwrap();
    assert_eq!(request, SupervisorRequest::Reload);
    let answer = SupervisorAnswer::Reloaded { fault: None };
    admin.supervisor.send(&AdminOrder::Reply { id, answer: answer.clone() }).unwrap();
    let (heard, _) = operator.receive::<ControlAnswer>().unwrap();
    assert_eq!(heard, ControlAnswer::Supervisor { answer });
    drop(admin.supervisor);
    assert!(admin.process.join().unwrap().is_ok(), "it ends with its supervisor");
}

#[test]
fn nonsense_of_an_operator_ends_its_conversation_and_of_the_core_the_process() {
    let admin = Admin::start();
    let idle: Vec<Link> = (0..OPERATORS_MAX).map(|_| admin.operator()).collect();
    let (answer, _) = admin.greeted().receive::<ControlAnswer>().unwrap();
    assert_eq!(answer, ControlAnswer::Refused { cause: ControlRefusal::Busy });
    drop(idle);
    let until = Instant::now() + Duration::from_secs(20);
    let operator = loop {
        let operator = admin.greeted();
        // One that is busy has closed its end by now.
        let _ = operator.send(&Greeting::own()).and_then(|()| operator.send(&Report::Ready));
        let answer = operator.receive::<ControlAnswer>().map(|(answer, _)| answer);
        if answer.is_ok_and(|answer| answer == ControlAnswer::Refused { cause: ControlRefusal::Malformed }) {
            break operator;
        }
        assert!(Instant::now() < until, "nobody is served any more");
    };
    assert!(matches!(operator.receive::<ControlAnswer>(), Err(LinkError::Closed)));
    admin.core.send(&Report::Ready).unwrap();
    assert!(admin.process.join().unwrap().is_ok());
    assert!(UnixStream::connect(&admin.socket).is_ok(), "the socket is the supervisor's, and the next one's");
}

#[test]
fn a_code_is_shown_to_nobody_who_prints_a_request() {
    let step_up = Some(StepUp { account: "alice".to_owned(), code: Code::new("492039".to_owned()) });
    let request = ControlRequest::Core { request: CoreRequest::BeginSlots, step_up };
    let printed = format!("{request:?}");
    assert!(printed.contains("alice") && !printed.contains("492039"), "{printed}");
}
