//! Messages between the processes of a broker, behind the number of their direction.

use std::sync::Arc;

use motte_roles::{
    Answer, Ask, Asker, Code, Configuration, DirectoryAnswer, DirectoryQuestion, Header, Hello, KeyEntry,
    KeyId, MasterKey, Message, Order, Outcome, OutwardOrder, OutwardOutcome, OutwardSource, Passphrase,
    Place, PublicKey, Refusal, Report, Request, Role, SetId, Source, SourceDirectory, SourceFacts, StepUp,
    Task, Told, Unanswered, VERSION, VaultSource,
};
use motte_seal::SecretString;
use motte_seal::envelope::DataKey;
use motte_seal::keyring::Slot;

use super::Input;

pub(super) fn written(direction: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![direction];
    message.encode(&mut bytes);
    bytes
}

/// Every kind of message.
#[expect(clippy::too_many_lines, reason = "a table, one row a message")]
pub(super) fn messages() -> Vec<Input> {
    let key = KeyId([7; 32]);
    let source = |passphrase| Source { path: "server.key".into(), passphrase };
    let sources = vec![
        source(Passphrase::None),
        source(Passphrase::File("pass".into())),
        source(Passphrase::Credential("tls".to_owned())),
        source(Passphrase::Known(Arc::new(SecretString::new("fuzz".to_owned())))),
    ];
    let configuration = Configuration {
        text: "workers = 1".to_owned(),
        file: "motte.toml".to_owned(),
        base: "/etc/motte".into(),
    };
    let listen = Place::Listener { listener: 1, endpoint: 0, worker: 3, inherited: false };
    let sign = Request::Sign { id: 9, key, scheme: 0x0403, message: b"TLS 1.3, server".to_vec() };
    let password = Arc::new(SecretString::new("fuzz".to_owned()));
    let plan = motte_ldap::PlanText {
        bind_as: Some("uid={user},dc=x".to_owned()),
        group_attribute: Some("memberOf".to_owned()),
        ..motte_ldap::PlanText::default()
    };
    let facts = SourceFacts {
        url: "https://localhost:8443/auth".to_owned(),
        purpose: motte_config::Purpose::Directory,
        connect_ms: 1_000,
        total_ms: 3_000,
        request_max: 32_768,
        answer_max: 16_384,
        outstanding: 16,
        described: None,
        directory: Some(SourceDirectory { plaintext: false, plan }),
    };
    let value = Arc::new(SecretString::new("Bearer fuzz".to_owned()));
    let headers = vec![Header { name: "authorization".to_owned(), value }];
    let outward = OutwardOrder::Load {
        set: SetId(7),
        authorities: vec!["-----BEGIN CERTIFICATE-----".to_owned()],
        sources: vec![OutwardSource {
            facts,
            authorities: 0,
            headers,
            password: Some(Arc::clone(&password)),
        }],
    };
    let ask = Ask::Ask { id: 9, set: SetId(7), source: 0, body: b"{}".to_vec().into() };
    let failed = Told::Failed { id: 9, cause: Unanswered::Slow, detail: "no answer".to_owned() };
    let mut all = vec![
        ("ask", written(7, &ask)),
        (
            "ask_long_body",
            vec![7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255],
        ),
        ("hello", written(0, &Hello { version: VERSION, role: Role::Keyd })),
        ("order_load", written(3, &Order::Load { sources })),
        ("order_long_list", vec![3, 1, 255, 255]),
        ("order_serve", written(3, &Order::Serve)),
        ("outcome", written(4, &Outcome::Loaded { good: 1, faults: "server.key".to_owned() })),
        ("outward_load", written(9, &outward)),
        ("outward_long_list", vec![9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]),
        ("outward_outcome", written(10, &OutwardOutcome::Loaded { faults: "no authority".to_owned() })),
        ("outward_serve", written(9, &OutwardOrder::Serve)),
        ("report_reloaded", written(6, &Report::Reloaded { number: 3, fault: Some("x".to_owned()) })),
        ("report_silent", written(6, &Report::KeysSilent)),
        ("request_keep", written(1, &Request::Keep { keys: vec![key, key] })),
        ("request_long_message", vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]),
        ("request_public", written(1, &Request::PublicKeys { id: 3 })),
        ("request_sign", written(1, &sign)),
        ("task_keys", written(5, &Task::Keys { faults: String::new() })),
        ("task_keys_ended", written(5, &Task::KeysEnded { cause: "signal 9".to_owned(), again_ms: 50 })),
        ("task_listen", written(5, &Task::Listen(listen))),
        ("task_metrics", written(5, &Task::Listen(Place::Metrics))),
        ("task_outward", written(5, &Task::Outward)),
        (
            "task_outward_ended",
            written(5, &Task::OutwardEnded { cause: "signal 9".to_owned(), again_ms: 50 }),
        ),
        (
            "task_reload",
            written(
                5,
                &Task::Reload {
                    number: 3,
                    by: Asker::Operator(0),
                    step_up: Some(StepUp { account: "alice".to_owned(), code: Code::new("1".to_owned()) }),
                    configuration: configuration.clone(),
                },
            ),
        ),
        ("task_start", written(5, &Task::Start(configuration))),
        ("task_stop", written(5, &Task::Stop(Asker::Signal(15)))),
        ("told_answered", written(8, &Told::Answered { id: 9, status: 200, body: b"yes".to_vec() })),
        ("told_failed", written(8, &failed)),
    ];
    all.extend(answers(key));
    all.extend(of_a_directory());
    all.extend(of_the_vault());
    all
}

/// What a directory is asked, and what comes of it.
fn of_a_directory() -> Vec<Input> {
    let question = DirectoryQuestion { user: "ann".to_owned(), password: b"secret".to_vec().into() };
    let allowed =
        motte_ldap::Outcome::Allowed { entry: "uid=ann,dc=x".to_owned(), groups: vec!["cn=g".to_owned()] };
    vec![
        ("directory_question", written(17, &question)),
        ("directory_allowed", written(18, &DirectoryAnswer(allowed))),
        (
            "directory_denied",
            written(18, &DirectoryAnswer(motte_ldap::Outcome::Denied(motte_ldap::Denial::Wrong))),
        ),
        ("directory_many_groups", vec![18, 1, 0, 0, 0, 0, 255, 255]),
    ]
}

/// Those about the key that opens the vault.
fn of_the_vault() -> Vec<Input> {
    let slot = [&[7; 8][..], &[4, 61, 0], &[1; 61], &[5], b"token", &[9; 60]].concat();
    let slots = Slot::decode_all(&slot).unwrap_or_default();
    let master = MasterKey::of(&DataKey::from_bytes([2; 32].into()));
    let vault = Order::Vault {
        source: VaultSource::file("store.key".into()),
        recovery: Passphrase::Known(Arc::new(SecretString::new("0".repeat(64)))),
    };
    vec![
        ("answer_unwrapped", written(2, &Answer::Unwrapped { id: 3, master: master.clone() })),
        (
            "answer_vault_refused",
            written(2, &Answer::VaultRefused { id: 3, cause: "no such file".to_owned() }),
        ),
        ("answer_wrapped", written(2, &Answer::Wrapped { id: 3, slots: slots.clone() })),
        ("order_vault", written(3, &vault)),
        ("request_unwrap", written(1, &Request::Unwrap { id: 3, slots })),
        ("request_wrap", written(1, &Request::Wrap { id: 3, master })),
    ]
}

/// Answers about keys.
fn answers(key: KeyId) -> Vec<Input> {
    let public = PublicKey { id: key, spki: vec![0x30, 0x59], algorithm: 3, schemes: vec![0x0403] };
    let entry = |outcome| KeyEntry { path: "server.key".into(), outcome };
    let keys = vec![entry(Ok(public)), entry(Err("no such file".to_owned()))];
    vec![
        ("answer_keys", written(2, &Answer::Keys { id: 3, keys })),
        ("answer_refused", written(2, &Answer::Refused { id: 9, cause: Refusal::Busy })),
        ("answer_signed", written(2, &Answer::Signed { id: 9, signature: vec![0x30, 0x45] })),
    ]
}
