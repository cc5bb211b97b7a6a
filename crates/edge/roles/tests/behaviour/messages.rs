//! Every message survives its way, and no bytes do harm.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use motte_config::{Described, Purpose, Url};
use motte_ldap::{Denial, PlanText};
use motte_roles::{
    Answer, Ask, Asker, Code, Configuration, DirectoryAnswer, DirectoryQuestion, Header, Hello, KeyEntry,
    KeyId, Link, LinkError, Malformed, MasterKey, Message, Order, Outcome, OutwardOrder, OutwardOutcome,
    OutwardSource, Passphrase, Place, PublicKey, Refusal, Report, Request, Role, SIGNED_BYTES_MAX, SetId,
    Source, SourceDirectory, SourceFacts, StepUp, Task, Told, Unanswered, VERSION, VaultKind, VaultSource,
};
use motte_seal::envelope::DataKey;
use motte_seal::keyring::{KeyEncryptionKey, SLOTS_MAX, Slot};
use motte_seal::{SecretBytes, SecretString};
use proptest::prelude::*;

pub fn step_up() -> impl Strategy<Value = StepUp> {
    (".{0,40}", "[0-9a-z-]{0,20}").prop_map(|(account, code)| StepUp { account, code: Code::new(code) })
}

fn path() -> impl Strategy<Value = PathBuf> + Clone {
    "[ -~]{0,40}".prop_map(PathBuf::from)
}

fn id() -> impl Strategy<Value = KeyId> {
    any::<[u8; 32]>().prop_map(KeyId)
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any::<u64>(), id(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..=SIGNED_BYTES_MAX))
            .prop_map(|(id, key, scheme, message)| Request::Sign { id, key, scheme, message }),
        any::<u64>().prop_map(|id| Request::PublicKeys { id }),
        proptest::collection::vec(id(), 0..9).prop_map(|keys| Request::Keep { keys }),
        (any::<u64>(), slots()).prop_map(|(id, slots)| Request::Unwrap { id, slots }),
        (any::<u64>(), master()).prop_map(|(id, master)| Request::Wrap { id, master }),
    ]
}

fn entry() -> impl Strategy<Value = KeyEntry> {
    let schemes = proptest::collection::vec(any::<u16>(), 0..10);
    let key = (id(), proptest::collection::vec(any::<u8>(), 0..200), any::<u8>(), schemes)
        .prop_map(|(id, spki, algorithm, schemes)| PublicKey { id, spki, algorithm, schemes });
    let outcome = prop_oneof![key.prop_map(Ok), ".{0,90}".prop_map(Err)];
    (path(), outcome).prop_map(|(path, outcome)| KeyEntry { path, outcome })
}

fn answer() -> impl Strategy<Value = Answer> {
    let cause = prop_oneof![
        Just(Refusal::NoKey),
        Just(Refusal::Scheme),
        Just(Refusal::Purpose),
        Just(Refusal::Busy),
        Just(Refusal::Failed)
    ];
    prop_oneof![
        (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..600))
            .prop_map(|(id, signature)| Answer::Signed { id, signature }),
        (any::<u64>(), cause).prop_map(|(id, cause)| Answer::Refused { id, cause }),
        (any::<u64>(), proptest::collection::vec(entry(), 0..5))
            .prop_map(|(id, keys)| Answer::Keys { id, keys }),
        (any::<u64>(), master()).prop_map(|(id, master)| Answer::Unwrapped { id, master }),
        (any::<u64>(), slots()).prop_map(|(id, slots)| Answer::Wrapped { id, slots }),
        (any::<u64>(), ".{0,90}").prop_map(|(id, cause)| Answer::VaultRefused { id, cause }),
    ]
}

fn data_key() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn master() -> impl Strategy<Value = MasterKey> {
    data_key().prop_map(|key| MasterKey::of(&DataKey::from_bytes(key.into())))
}

fn slots() -> impl Strategy<Value = Vec<Slot>> {
    let slot = (
        data_key(),
        data_key(),
        "[ -~]{0,90}",
        proptest::collection::vec(any::<u8>(), 0..200),
        any::<bool>(),
    );
    let slot = slot.prop_map(|(key, master, label, sealed, is_token)| {
        let kek = if is_token {
            KeyEncryptionKey::from_token(DataKey::from_bytes(key.into()), sealed).unwrap()
        } else {
            KeyEncryptionKey::from_key_file(&SecretBytes::new(key.to_vec())).unwrap()
        };
        Slot::wrap(&kek, &label, &DataKey::from_bytes(master.into())).unwrap()
    });
    proptest::collection::vec(slot, 0..=SLOTS_MAX)
}

fn known() -> impl Strategy<Value = Passphrase> {
    ".{0,20}".prop_map(|text| Passphrase::Known(Arc::new(SecretString::new(text))))
}

fn passphrase() -> impl Strategy<Value = Passphrase> {
    prop_oneof![
        Just(Passphrase::None),
        path().prop_map(Passphrase::File),
        ".{0,20}".prop_map(Passphrase::Credential),
        known(),
    ]
}

fn vault_order() -> impl Strategy<Value = Order> {
    let kind = prop_oneof![
        Just(VaultKind::Key),
        Just(VaultKind::Passphrase),
        Just(VaultKind::Recovery),
        ".{0,40}".prop_map(VaultKind::Token)
    ];
    let recovery = prop_oneof![Just(Passphrase::None), known()];
    (kind, passphrase(), recovery).prop_map(|(kind, secret, recovery)| {
        let source = VaultSource { kind, secret };
        Order::Vault { source, recovery }
    })
}

fn source() -> impl Strategy<Value = Source> {
    (path(), passphrase()).prop_map(|(path, passphrase)| Source { path, passphrase })
}

fn asker() -> impl Strategy<Value = Asker> {
    prop_oneof![any::<u8>().prop_map(Asker::Signal), any::<u32>().prop_map(Asker::Operator)]
}

fn task() -> impl Strategy<Value = Task> {
    let configuration =
        (".{0,200}", ".{0,20}", path()).prop_map(|(text, file, base)| Configuration { text, file, base });
    let place = prop_oneof![
        Just(Place::Metrics),
        any::<(u16, u16, u16, bool)>().prop_map(|(listener, endpoint, worker, inherited)| {
            Place::Listener { listener, endpoint, worker, inherited }
        })
    ];
    prop_oneof![
        configuration.clone().prop_map(Task::Start),
        place.prop_map(Task::Listen),
        ".{0,90}".prop_map(|faults| Task::Keys { faults }),
        Just(Task::Run),
        (".{0,90}", any::<u64>()).prop_map(|(cause, again_ms)| Task::KeysEnded { cause, again_ms }),
        (any::<u64>(), asker(), proptest::option::of(step_up()), configuration).prop_map(
            |(number, by, step_up, configuration)| Task::Reload { number, by, step_up, configuration }
        ),
        (any::<u64>(), asker(), ".{0,90}").prop_map(|(number, by, cause)| Task::ReloadFailed {
            number,
            by,
            cause
        }),
        asker().prop_map(Task::Stop),
        ".{0,90}".prop_map(|socket| Task::Admin { socket }),
        (".{0,90}", any::<u64>()).prop_map(|(cause, again_ms)| Task::AdminEnded { cause, again_ms }),
    ]
}

fn outward() -> impl Strategy<Value = OutwardOrder> {
    let purpose = prop_oneof![
        Just(Purpose::RevocationList),
        Just(Purpose::Hook),
        Just(Purpose::TokenKeys),
        Just(Purpose::Discovery),
        Just(Purpose::Ocsp),
        Just(Purpose::Directory)
    ];
    let origins = proptest::collection::vec("https://[a-z]{1,9}:[1-9][0-9]{0,3}/", 0..=5)
        .prop_map(|all| all.iter().map(|text| Url::parse(text).unwrap()).collect());
    let described = proptest::option::of(
        ("[ -~]{0,60}", origins).prop_map(|(issuer, origins)| Described { issuer, origins }),
    );
    let directory = proptest::option::of((any::<bool>(), any::<[bool; 8]>(), ".{0,60}").prop_map(
        |(plaintext, there, text)| {
            let plan = PlanText::of(there.map(|is_there| is_there.then(|| text.clone())));
            SourceDirectory { plaintext, plan }
        },
    ));
    let facts = ("[ -~]{0,60}", purpose, any::<[u32; 4]>(), any::<u16>(), described, directory).prop_map(
        |(url, purpose, numbers, outstanding, described, directory)| {
            let [connect_ms, total_ms, request_max, answer_max] = numbers;
            SourceFacts {
                url,
                purpose,
                connect_ms,
                total_ms,
                request_max,
                answer_max,
                outstanding,
                described,
                directory,
            }
        },
    );
    let header = ("[a-z-]{1,20}", ".{0,40}")
        .prop_map(|(name, value)| Header { name, value: Arc::new(SecretString::new(value)) });
    let password = proptest::option::of(".{0,40}".prop_map(|text| Arc::new(SecretString::new(text))));
    let source = (facts, any::<u8>(), proptest::collection::vec(header, 0..4), password).prop_map(
        |(facts, authorities, headers, password)| OutwardSource { facts, authorities, headers, password },
    );
    let load =
        (any::<u64>(), proptest::collection::vec(".{0,50}", 0..3), proptest::collection::vec(source, 0..5))
            .prop_map(|(set, authorities, sources)| OutwardOrder::Load {
                set: SetId(set),
                authorities,
                sources,
            });
    prop_oneof![load, Just(OutwardOrder::Serve)]
}

fn told() -> impl Strategy<Value = Told> {
    let cause = prop_oneof![
        Just(Unanswered::NoSource),
        Just(Unanswered::Busy),
        Just(Unanswered::Unreachable),
        Just(Unanswered::Slow),
        Just(Unanswered::TooLong),
        Just(Unanswered::Broken)
    ];
    prop_oneof![
        (any::<u64>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..600))
            .prop_map(|(id, status, body)| Told::Answered { id, status, body }),
        (any::<u64>(), cause, ".{0,90}").prop_map(|(id, cause, detail)| Told::Failed { id, cause, detail }),
    ]
}

/// The same comes back; cut short, or with more behind it, nothing does.
pub fn survives<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    assert!(bytes.len() <= M::BYTES_MAX);
    assert_eq!(M::decode(&bytes).as_ref(), Ok(message));
    assert!(M::decode(&bytes[..bytes.len() - 1]).is_err());
    bytes.push(0);
    assert!(M::decode(&bytes).is_err());
}

proptest! {
    #[test]
    fn every_message_survives_its_way(
        request in request(), answer in answer(), sources in proptest::collection::vec(source(), 0..4), task in task(), order in vault_order(),
        good in any::<u16>(), again in any::<u64>(), faults in ".{0,90}"
    ) {
        survives(&request);
        survives(&answer);
        survives(&Order::Load { sources });
        survives(&Order::Serve);
        survives(&order);
        survives(&Outcome::Loaded { good, faults: faults.clone() });
        survives(&task);
        survives(&Report::Ready);
        survives(&Report::KeysSilent);
        survives(&Report::AdminSilent);
        survives(&Report::Reloaded { number: again, fault: None });
        survives(&Report::Reloaded { number: again, fault: Some(faults.clone()) });
        survives(&Report::OutwardSilent);
        survives(&Hello { version: good, role: Role::Keyd });
        survives(&Hello { version: good, role: Role::Egress });
    }

    #[test]
    fn so_does_every_message_of_what_connects_out(
        order in outward(), told in told(), id in any::<u64>(), set in any::<u64>(), source in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..600), faults in ".{0,90}", again_ms in any::<u64>()
    ) {
        survives(&order);
        survives(&told);
        survives(&Ask::Ask { id, set: SetId(set), source, body: body.into() });
        survives(&OutwardOutcome::Loaded { faults: faults.clone() });
        survives(&Task::Outward);
        survives(&Task::OutwardEnded { cause: faults, again_ms });
    }

    #[test]
    fn so_does_what_a_directory_is_asked_and_says(
        user in ".{0,60}", password in proptest::collection::vec(any::<u8>(), 0..200),
        groups in proptest::collection::vec(".{0,60}", 0..5), denial in 0_u8..13
    ) {
        survives(&DirectoryQuestion { user: user.clone(), password: password.into() });
        survives(&DirectoryAnswer(motte_ldap::Outcome::Allowed { entry: user, groups }));
        survives(&DirectoryAnswer(motte_ldap::Outcome::Denied(Denial::of(denial).unwrap())));
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u8..13) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let _ = Request::decode(&bytes);
        let _ = Answer::decode(&bytes);
        let _ = Order::decode(&bytes);
        let _ = Outcome::decode(&bytes);
        let _ = Task::decode(&bytes);
        let _ = Report::decode(&bytes);
        let _ = Hello::decode(&bytes);
        let _ = Ask::decode(&bytes);
        let _ = DirectoryQuestion::decode(&bytes);
        let _ = DirectoryAnswer::decode(&bytes);
        let _ = Told::decode(&bytes);
        let _ = OutwardOrder::decode(&bytes);
        let _ = OutwardOutcome::decode(&bytes);
    }
}

#[test]
fn a_length_is_believed_only_as_far_as_bytes_are_there() {
    // A list of 256 files in a message of 3 bytes, and a text of 4 GiB.
    assert_eq!(Order::decode(&[1, 0, 1]), Err(Malformed::Short));
    assert_eq!(Task::decode(&[3, 255, 255, 255, 255]), Err(Malformed::Bound));
    assert_eq!(Request::decode(&[3, 255, 255]), Err(Malformed::Bound));
    survives(&Request::Keep { keys: vec![KeyId([1; 32]); 512] });
}

#[test]
fn a_frame_above_its_bound_is_refused_before_it_is_read() {
    use std::io::Write;
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(matches!(Link::new(here).receive::<Report>(), Err(LinkError::TooLong(_))));
}

#[test]
fn a_stranger_is_not_spoken_with() {
    let (here, there) = UnixStream::pair().unwrap();
    let (here, there) = (Link::new(here), Link::new(there));
    there.send(&Hello { version: VERSION, role: Role::Core }).unwrap();
    assert!(matches!(here.greet(Role::Keyd, Role::Supervisor), Err(LinkError::Stranger { .. })));
    there.send(&Hello { version: VERSION + 1, role: Role::Supervisor }).unwrap();
    assert!(matches!(here.greet(Role::Keyd, Role::Supervisor), Err(LinkError::Stranger { .. })));
    there.send(&Report::Ready).unwrap();
    assert!(matches!(here.greet(Role::Keyd, Role::Supervisor), Err(LinkError::Malformed(_))));
}

#[test]
fn a_descriptor_travels_with_its_message() {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    let (here, there) = UnixStream::pair().unwrap();
    let (here, there) = (Link::new(here), Link::new(there));
    let (mut kept, sent) = UnixStream::pair().unwrap();
    here.send_with(&Order::Serve, sent.as_fd()).unwrap();
    here.send(&Order::Load { sources: Vec::new() }).unwrap();
    drop(sent);
    let (order, descriptor) = there.receive::<Order>().unwrap();
    assert_eq!(order, Order::Serve);
    let mut received = UnixStream::from(descriptor.unwrap());
    received.write_all(b"here").unwrap();
    let mut four = [0; 4];
    kept.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"here");
    assert!(there.receive::<Order>().unwrap().1.is_none());
}
