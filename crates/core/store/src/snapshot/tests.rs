//! Round trips, damage, and files that only look whole.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::{DeliveryRecord, FlowRecord, PrincipalRecord, SubscriptionRecord, WillRecord};

fn principal() -> impl Strategy<Value = PrincipalRecord> {
    (
        0_u8..5,
        ".{0,8}",
        ".{0,8}",
        option::of(".{0,8}"),
        any::<u8>(),
        "[a-z]{0,6}",
        any::<u8>(),
        option::of("[0-9.:]{0,12}"),
        option::of(vec(("[a-z]{1,4}", ".{0,6}"), 0..3)),
    )
        .prop_map(
            |(kind, identity, client_id, user_name, methods, listener, security, address, certificate)| {
                PrincipalRecord {
                    kind,
                    identity,
                    client_id,
                    user_name,
                    methods,
                    listener,
                    security,
                    address,
                    certificate: certificate.map(|facts| facts.into_iter().collect()),
                }
            },
        )
}

fn publication() -> impl Strategy<Value = PublicationRecord> {
    (
        ".{0,12}",
        vec(any::<u8>(), 0..300),
        0_u8..3,
        any::<bool>(),
        vec(any::<u8>(), 0..20),
        option::of(any::<u64>()),
        principal(),
    )
        .prop_map(|(topic, payload, qos, retain, forwarded, expires_at_ms, source)| PublicationRecord {
            topic,
            payload: Arc::from(payload),
            qos,
            retain,
            forwarded,
            expires_at_ms,
            source: Arc::new(source),
        })
}

fn delivery(publications: u32) -> impl Strategy<Value = DeliveryRecord> {
    (0..publications, 0_u8..3, any::<bool>(), vec(any::<u32>(), 0..3), option::of((".{0,5}", ".{0,5}")))
        .prop_map(|(publication, qos, retain, identifiers, shared)| DeliveryRecord {
            publication,
            qos,
            retain,
            identifiers,
            shared,
        })
}

fn subscription() -> impl Strategy<Value = SubscriptionRecord> {
    (option::of(".{0,5}"), ".{0,9}", 0_u8..3, any::<bool>(), any::<bool>(), option::of(any::<u32>()))
        .prop_map(|(share, filter, qos, no_local, retain_as_published, identifier)| SubscriptionRecord {
            share,
            filter,
            qos,
            no_local,
            retain_as_published,
            identifier,
        })
}

fn will() -> impl Strategy<Value = WillRecord> {
    (
        ".{0,9}",
        vec(any::<u8>(), 0..40),
        0_u8..3,
        any::<bool>(),
        vec(any::<u8>(), 0..9),
        option::of(any::<u32>()),
        any::<u64>(),
    )
        .prop_map(|(topic, payload, qos, retain, forwarded, message_expiry_s, due_at_ms)| WillRecord {
            topic,
            payload,
            qos,
            retain,
            forwarded,
            message_expiry_s,
            due_at_ms,
        })
}

fn session(publications: u32) -> impl Strategy<Value = SessionRecord> {
    let flow = (1_u16.., option::of(delivery(publications)))
        .prop_map(|(packet_id, delivery)| FlowRecord { packet_id, delivery });
    (
        principal(),
        3_u8..6,
        any::<u32>(),
        option::of(any::<u64>()),
        vec(subscription(), 0..4),
        vec(flow, 0..4),
        vec(delivery(publications), 0..4),
        vec(1_u16.., 0..4),
        option::of(will()),
    )
        .prop_map(
            |(principal, level, expiry_s, ends_at_ms, subscriptions, flows, queued, inbound, will)| {
                SessionRecord {
                    principal,
                    level,
                    expiry_s,
                    ends_at_ms,
                    subscriptions,
                    flows,
                    queued,
                    inbound,
                    will,
                }
            },
        )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (any::<u64>(), vec(publication(), 1..4)).prop_flat_map(|(taken_at_ms, publications)| {
        let count = u32::try_from(publications.len()).unwrap();
        (Just(taken_at_ms), Just(publications), vec(session(count), 0..4), vec(0..count, 0..4)).prop_map(
            |(taken_at_ms, publications, sessions, retained)| Snapshot {
                taken_at_ms,
                publications,
                sessions,
                retained,
            },
        )
    })
}

/// Makes a changed file look whole again.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - TRAILER_BYTES;
    let checksum = crc32fast::hash(&file[..end]);
    file[end..].copy_from_slice(&checksum.to_le_bytes());
    file
}

#[test]
fn an_empty_snapshot_comes_back_and_its_first_bytes_are_fixed() {
    let empty = Snapshot::default();
    let file = empty.encode();
    assert_eq!(Snapshot::decode(&file), Ok(empty));
    assert_eq!(file[..18], *b"MOTTESNP\x01\x00\x0b\x00\x00\x00\x00\x00\x00\x00");
}

#[test]
fn another_version_and_another_file_are_named() {
    let mut file = Snapshot::default().encode();
    file[8] = 9;
    assert_eq!(Snapshot::decode(&file), Err(SnapshotError::Version { found: 9 }));
    assert_eq!(Snapshot::decode(b"[listener]"), Err(SnapshotError::NotASnapshot));
    assert_eq!(Snapshot::decode(b""), Err(SnapshotError::NotASnapshot));
}

#[test]
fn a_count_larger_than_the_file_allocates_nothing() {
    let mut file = Snapshot::default().encode();
    // The count of messages follows the time; the rest of the body then is one huge LEB128 number.
    file.truncate(HEADER_BYTES + 8);
    file.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    let length = (file.len() - HEADER_BYTES) as u64;
    file[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&[0; TRAILER_BYTES]);
    let error = Snapshot::decode(&sealed(file)).unwrap_err();
    assert!(matches!(error, SnapshotError::Truncated { what: "the messages", .. }), "{error}");
}

/// One of everything, small enough to damage it in every way.
fn sample() -> Snapshot {
    let source =
        PrincipalRecord { identity: "press".into(), user_name: Some("p".into()), ..Default::default() };
    let delivery = DeliveryRecord {
        publication: 0,
        qos: 1,
        retain: false,
        identifiers: vec![7, 300],
        shared: Some(("g".into(), "a/+".into())),
    };
    let will = WillRecord {
        topic: "gone".into(),
        payload: b"1".to_vec(),
        qos: 1,
        retain: true,
        forwarded: Vec::new(),
        message_expiry_s: Some(9),
        due_at_ms: 1_000,
    };
    let subscription = SubscriptionRecord {
        share: None,
        filter: "a/#".into(),
        qos: 2,
        no_local: true,
        retain_as_published: false,
        identifier: Some(1),
    };
    let session = SessionRecord {
        principal: source.clone(),
        level: 5,
        expiry_s: 60,
        ends_at_ms: Some(5_000),
        subscriptions: vec![subscription],
        flows: vec![FlowRecord { packet_id: 3, delivery: None }],
        queued: vec![delivery],
        inbound: vec![9],
        will: Some(will),
    };
    let publication = PublicationRecord {
        topic: "a/b".into(),
        payload: Arc::from(&b"hello"[..]),
        qos: 1,
        retain: true,
        forwarded: vec![1, 1],
        expires_at_ms: Some(77),
        source: Arc::new(source),
    };
    Snapshot { taken_at_ms: 42, publications: vec![publication], sessions: vec![session], retained: vec![0] }
}

#[test]
fn every_changed_byte_of_a_sample_is_found() {
    let file = sample().encode();
    assert_eq!(Snapshot::decode(&file), Ok(sample()));
    for at in 0..file.len() {
        for flip in 1..=u8::MAX {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            assert!(Snapshot::decode(&damaged).is_err(), "byte {at} changed by {flip:#04x}");
        }
    }
}

#[test]
fn every_cut_of_a_sample_is_found() {
    let file = sample().encode();
    for at in 0..file.len() {
        let error = Snapshot::decode(&file[..at]).unwrap_err();
        assert_eq!(error == SnapshotError::NotASnapshot, at < MAGIC.len(), "cut at {at}: {error}");
    }
}

#[test]
fn every_error_names_a_remedy() {
    let file = sample().encode();
    let mut damaged = file.clone();
    damaged[HEADER_BYTES] ^= 1;
    for (bytes, remedy) in [
        (&b"[listener]"[..], "put back the right file"),
        (b"MOTTESNP\x07\x00", "start the version of motte that wrote it"),
        (&file[..40], "restore it from a backup"),
        (&damaged, "restore it from a backup"),
    ] {
        let said = Snapshot::decode(bytes).unwrap_err().to_string();
        assert!(said.contains(remedy), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(snapshot in snapshot()) {
        prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    }

    #[test]
    fn a_changed_byte_is_always_found(snapshot in snapshot(), place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut file = snapshot.encode();
        let at = place.index(file.len());
        file[at] ^= flip;
        prop_assert!(Snapshot::decode(&file).is_err());
    }

    #[test]
    fn a_cut_or_lengthened_file_is_always_found(snapshot in snapshot(), place in any::<prop::sample::Index>()) {
        let file = snapshot.encode();
        prop_assert!(Snapshot::decode(&file[..place.index(file.len())]).is_err());
        let mut longer = file;
        longer.push(0);
        prop_assert!(Snapshot::decode(&longer).is_err());
    }

    #[test]
    fn a_forged_file_is_refused_or_has_one_encoding(
        snapshot in snapshot(), place in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let mut file = snapshot.encode();
        let at = HEADER_BYTES + place.index(file.len() - HEADER_BYTES - TRAILER_BYTES);
        file[at] = value;
        let file = sealed(file);
        if let Ok(read) = Snapshot::decode(&file) {
            prop_assert_eq!(read.encode(), file);
        }
    }
}
