//! Snapshots: each record once, and files that only look like one.

use std::sync::Arc;

use motte_store::{
    DeliveryRecord, FlowRecord, PrincipalRecord, PublicationRecord, SessionRecord, Snapshot,
    SubscriptionRecord, WillRecord,
};

use super::Input;

/// The snapshots.
pub(super) fn all() -> Vec<Input> {
    let full = snapshot(
        vec![publication(client(), b"21.5"), publication(bridge(), b"")],
        vec![session(client()), SessionRecord { level: 3, ..plain_session(bridge()) }],
        vec![0, 1],
    );
    let file = full.encode();
    let cut = file.get(..file.len() / 2).unwrap_or_default().to_vec();
    let mut damaged = file.clone();
    if let Some(byte) = damaged.get_mut(30) {
        *byte ^= 1;
    }
    let mut later = Snapshot::default().encode();
    if let Some(byte) = later.get_mut(8) {
        *byte = 2;
    }
    let published = |source| vec![publication(source, b"21.5")];
    vec![
        ("empty", Snapshot::default().encode()),
        ("full", file),
        ("full_cut", cut),
        ("full_damaged", damaged),
        ("later_version", later),
        ("message_of_a_bridge", snapshot(published(bridge()), vec![], vec![]).encode()),
        ("message_of_a_client", snapshot(published(client()), vec![], vec![]).encode()),
        ("no_snapshot", b"[listener]\n".to_vec()),
        ("retained", snapshot(published(bridge()), vec![], vec![0]).encode()),
        ("session", snapshot(vec![], vec![plain_session(bridge())], vec![]).encode()),
        ("session_with_all", snapshot(published(bridge()), vec![session(bridge())], vec![]).encode()),
        ("session_with_will", snapshot(vec![], vec![with_will()], vec![]).encode()),
    ]
}

fn snapshot(
    publications: Vec<PublicationRecord>,
    sessions: Vec<SessionRecord>,
    retained: Vec<u32>,
) -> Snapshot {
    Snapshot { taken_at_ms: 1_700_000_000_000, publications, sessions, retained }
}

fn client() -> PrincipalRecord {
    PrincipalRecord {
        kind: 0,
        identity: "press".into(),
        client_id: "press-7".into(),
        user_name: Some("press".into()),
        methods: 6,
        listener: "main".into(),
        security: 1,
        address: Some("10.0.0.7".into()),
        certificate: Some(vec![("cn".into(), "press".into()), ("ou".into(), "line 7".into())]),
    }
}

fn bridge() -> PrincipalRecord {
    PrincipalRecord { kind: 1, identity: "site".into(), ..PrincipalRecord::default() }
}

fn publication(source: PrincipalRecord, payload: &[u8]) -> PublicationRecord {
    PublicationRecord {
        topic: "plant/press/7".into(),
        payload: Arc::from(payload),
        qos: 1,
        retain: true,
        forwarded: vec![1, 1],
        expires_at_ms: Some(1_700_000_060_000),
        source: Arc::new(source),
    }
}

fn plain_session(principal: PrincipalRecord) -> SessionRecord {
    SessionRecord {
        principal,
        level: 5,
        expiry_s: 3600,
        ends_at_ms: None,
        subscriptions: Vec::new(),
        flows: Vec::new(),
        queued: Vec::new(),
        inbound: Vec::new(),
        will: None,
    }
}

fn with_will() -> SessionRecord {
    let will = WillRecord {
        topic: "gone/press-7".into(),
        payload: b"1".to_vec(),
        qos: 2,
        retain: true,
        forwarded: Vec::new(),
        message_expiry_s: Some(60),
        due_at_ms: 1_700_000_005_000,
    };
    SessionRecord { will: Some(will), ends_at_ms: Some(1_700_003_600_000), ..plain_session(bridge()) }
}

fn session(principal: PrincipalRecord) -> SessionRecord {
    let subscription = SubscriptionRecord {
        share: Some("g".into()),
        filter: "plant/#".into(),
        qos: 2,
        no_local: false,
        retain_as_published: true,
        identifier: Some(300),
    };
    let delivery = DeliveryRecord {
        publication: 0,
        qos: 1,
        retain: false,
        identifiers: vec![1, 300],
        shared: Some(("g".into(), "plant/#".into())),
    };
    SessionRecord {
        principal,
        subscriptions: vec![subscription],
        flows: vec![
            FlowRecord { packet_id: 1, delivery: Some(delivery.clone()) },
            FlowRecord { packet_id: 2, delivery: None },
        ],
        queued: vec![delivery],
        inbound: vec![7, 65_535],
        ..with_will()
    }
}
