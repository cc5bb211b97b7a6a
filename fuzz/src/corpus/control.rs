//! What is said on the control socket and behind it, each behind the number of its direction.

use motte_roles::{
    AdminAsks, AdminOrder, AdminSays, Admitted, BanPage, BanStatus, CertificateStatus, ClientDetail,
    ClientPage, ClientSummary, Code, ControlAnswer, ControlRefusal, ControlRequest, CoreAnswer, CoreReply,
    CoreRequest, Greeting, ListenerStatus, Operator, PolicyStatus, ProcessStatus, Processes, ReloadStatus,
    Status, StepUp, SupervisorAnswer, SupervisorRequest, VaultStatus, VaultWork,
};

use super::Input;
use super::roles::written;

fn client() -> ClientSummary {
    ClientSummary {
        client_id: "device-1".to_owned(),
        identity: "device-1".to_owned(),
        connected: true,
        listener: "tls".to_owned(),
        address: "192.0.2.1".to_owned(),
        since_unix_ms: 7,
        subscriptions: 1,
        queued: 2,
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        uptime_s: 1,
        workers: 2,
        connections: 3,
        sessions: 4,
        subscriptions: 5,
        retained_messages: 6,
        retained_bytes: 7,
        memory_used_bytes: 8,
        memory_max_bytes: 9,
        backlog_bytes: 10,
        received: 11,
        sent: 12,
        queued: 13,
        dropped: 14,
        denied: 15,
        received_per_ks: 16,
        sent_per_ks: 17,
        listeners: vec![ListenerStatus {
            name: "tls".to_owned(),
            kind: "tls".to_owned(),
            addresses: vec!["127.0.0.1:8883".to_owned()],
            connections: 1,
        }],
        policy: PolicyStatus { generation: 1, loaded_unix_ms: 2, by: "SIGHUP".to_owned() },
        reload: Some(ReloadStatus { unix_ms: 1, by: "SIGHUP".to_owned(), fault: Some("x".to_owned()) }),
        certificates: vec![CertificateStatus { file: "server.pem".to_owned(), not_after_unix_s: 1 }],
    }
}

fn vault() -> VaultStatus {
    let work = VaultWork {
        number: 1,
        what: "shred press".to_owned(),
        done_bytes: 2,
        all_bytes: 3,
        outcome: Some("done".to_owned()),
        failed: false,
    };
    let opened_by = vec!["key file 32beafa8d11078c7 (store.key)".to_owned()];
    VaultStatus { generation: 4, opened_by, keys: 5, shredded: 6, groups: 7, work: Some(work) }
}

fn step_up() -> StepUp {
    StepUp { account: "alice".to_owned(), code: Code::new("492039".to_owned()) }
}

/// What has to do with codes, and with exchanges of slots.
fn step_ups() -> Vec<Input> {
    let core = |request| ControlRequest::Core { request, step_up: None };
    let answer = |answer| ControlAnswer::Core { answer };
    let unban = CoreRequest::Unban { subject: "192.0.2.1".to_owned() };
    let as_alice = ControlRequest::Core { request: unban, step_up: Some(step_up()) };
    let reload = ControlRequest::Supervisor { request: SupervisorRequest::Reload, step_up: Some(step_up()) };
    let challenge = CoreAnswer::VaultChallenge { challenge: "0f".repeat(32) };
    let accounts = CoreAnswer::SecondFactors { accounts: vec!["alice".to_owned()] };
    vec![
        ("control_request_as_somebody", written(12, &as_alice)),
        ("control_request_reload_as_somebody", written(12, &reload)),
        ("control_request_begin_slots", written(12, &core(CoreRequest::BeginSlots))),
        ("control_request_second_factors", written(12, &core(CoreRequest::SecondFactors))),
        ("control_answer_challenge", written(13, &answer(challenge))),
        ("control_answer_second_factors", written(13, &answer(accounts))),
    ]
}

/// Every kind of message.
pub(super) fn messages() -> Vec<Input> {
    let operator = Operator { uid: 0, step_up: Some(step_up()) };
    let core = |request| ControlRequest::Core { request, step_up: None };
    let answer = |answer| ControlAnswer::Core { answer };
    let page = ClientPage { clients: vec![client(), client()], more: true };
    let detail = ClientDetail {
        summary: client(),
        protocol: 5,
        in_flight: 1,
        queued_bytes: 9,
        filters: vec!["1 devices/#".to_owned()],
    };
    let process = ProcessStatus {
        role: "core".to_owned(),
        pid: 7,
        resident_bytes: 9,
        restarts: 0,
        sandbox: "full".to_owned(),
    };
    let processes = Processes { version: "0.1.0".to_owned(), processes: vec![process] };
    let disconnect = || CoreRequest::Disconnect { client_id: "device-1".to_owned() };
    let list = CoreRequest::Clients { after: Some("a".to_owned()), connected: true, most: 9 };
    let says = AdminSays::Request { id: 1, operator: operator.clone(), request: disconnect() };
    let asks = AdminAsks::Request { id: 2, operator, request: SupervisorRequest::Reload };
    let admitted = Admitted { uid: 1, gid: Some(2), members: vec![3, 4] };
    let reloaded = SupervisorAnswer::Reloaded { fault: Some("motte.toml:1:1: x".to_owned()) };
    let silent = ControlAnswer::Refused { cause: ControlRefusal::Silent };
    let ban = BanStatus {
        subject: "192.0.2.0/24".to_owned(),
        cause: "guessing".to_owned(),
        by: Some("user 0".to_owned()),
        since_unix_ms: 1,
        until_unix_ms: 2,
    };
    let bans = CoreAnswer::Bans { page: BanPage { bans: vec![ban], more: false } };
    let ask_ban =
        CoreRequest::Ban { subject: "identity:a".to_owned(), cause: "stolen".to_owned(), for_s: 3_600 };
    let slots = CoreRequest::VaultSlots { slots: "00ff".to_owned(), proof: "11".repeat(32) };
    let mut all = step_ups();
    all.extend([
        ("control_answer_bans", written(13, &answer(bans))),
        ("control_request_ban", written(12, &core(ask_ban))),
        ("control_request_bans", written(12, &core(CoreRequest::Bans { from: 0 }))),
        ("control_answer_client", written(13, &answer(CoreAnswer::Client { client: Box::new(detail) }))),
        ("control_answer_clients", written(13, &answer(CoreAnswer::Clients { page }))),
        ("control_answer_refused", written(13, &silent)),
        ("control_answer_status", written(13, &answer(CoreAnswer::Status { status: Box::new(status()) }))),
        ("control_asks", written(15, &asks)),
        ("control_greeting", written(11, &Greeting::own())),
        ("control_order_listen", written(14, &AdminOrder::Listen { admitted })),
        ("control_order_reply", written(14, &AdminOrder::Reply { id: 2, answer: reloaded })),
        (
            "control_processes",
            written(13, &ControlAnswer::Supervisor { answer: SupervisorAnswer::Processes { processes } }),
        ),
        ("control_reply", written(19, &CoreReply { id: 1, answer: CoreAnswer::Done })),
        ("control_request_clients", written(12, &core(list))),
        ("control_request_disconnect", written(12, &core(disconnect()))),
        ("control_request_long_text", vec![12, 1, 3, 255, 255, 255, 255]),
        ("control_answer_vault", written(13, &answer(CoreAnswer::Vault { vault: Some(vault()) }))),
        ("control_request_rotate", written(12, &core(CoreRequest::RotateDataKeys { keep_old: true }))),
        ("control_request_shred", written(12, &core(CoreRequest::Shred { device: "press".to_owned() }))),
        ("control_request_slots", written(12, &core(slots))),
        ("control_request_vault", written(12, &core(CoreRequest::Vault))),
        ("control_says", written(16, &says)),
        ("control_turned_away", written(16, &AdminSays::TurnedAway { uid: 65_534, cause: "x".to_owned() })),
    ]);
    all
}
