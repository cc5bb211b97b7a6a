//! Records to bytes.

use crate::record::{
    DeliveryRecord, FlowRecord, PrincipalRecord, Publication, PublicationRecord, SessionRecord,
    SubscriptionRecord, WillRecord,
};

use super::{HEADER_BYTES, MAGIC, Snapshot, TRAILER_BYTES, VERSION};

/// The whole file.
pub(super) fn file(snapshot: &Snapshot) -> Vec<u8> {
    let payloads: usize =
        snapshot.publications.iter().map(|p| p.payload.len() + p.forwarded.len() + 128).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES + TRAILER_BYTES + payloads + snapshot.sessions.len() * 256);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    body(snapshot, &mut out);
    let length = (out.len() - HEADER_BYTES) as u64;
    if let Some(place) = out.get_mut(HEADER_BYTES - 8..HEADER_BYTES) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn body(snapshot: &Snapshot, out: &mut Vec<u8>) {
    out.extend_from_slice(&snapshot.taken_at_ms.to_le_bytes());
    all(&snapshot.publications, out, publication);
    all(&snapshot.sessions, out, session);
    all(&snapshot.retained, out, |index, out| number(u64::from(*index), out));
}

fn publication(record: &PublicationRecord, out: &mut Vec<u8>) {
    parts(&record.into(), out);
}

/// An Application Message.
pub(crate) fn parts(message: &Publication<'_>, out: &mut Vec<u8>) {
    text(message.topic, out);
    bytes(message.payload, out);
    out.push(message.qos);
    flag(message.retain, out);
    bytes(message.forwarded, out);
    optional(message.expires_at_ms.as_ref(), out, |at, out| out.extend_from_slice(&at.to_le_bytes()));
    principal(message.source, out);
}

fn principal(record: &PrincipalRecord, out: &mut Vec<u8>) {
    out.push(record.kind);
    text(&record.identity, out);
    text(&record.client_id, out);
    optional(record.user_name.as_ref(), out, |name, out| text(name, out));
    out.push(record.methods);
    text(&record.listener, out);
    out.push(record.security);
    optional(record.address.as_ref(), out, |address, out| text(address, out));
    optional(record.certificate.as_ref(), out, |facts, out| {
        all(facts, out, |(name, value), out| {
            text(name, out);
            text(value, out);
        });
    });
}

fn session(record: &SessionRecord, out: &mut Vec<u8>) {
    session_facts(record, out);
    all(&record.flows, out, flow);
    all(&record.queued, out, delivery);
    all(&record.inbound, out, |id, out| out.extend_from_slice(&id.to_le_bytes()));
    optional(record.will.as_ref(), out, will);
}

/// A Session without what is on its way.
pub(crate) fn session_facts(record: &SessionRecord, out: &mut Vec<u8>) {
    principal(&record.principal, out);
    out.push(record.level);
    out.extend_from_slice(&record.expiry_s.to_le_bytes());
    optional(record.ends_at_ms.as_ref(), out, |at, out| out.extend_from_slice(&at.to_le_bytes()));
    all(&record.subscriptions, out, subscription);
}

fn subscription(record: &SubscriptionRecord, out: &mut Vec<u8>) {
    optional(record.share.as_ref(), out, |share, out| text(share, out));
    text(&record.filter, out);
    out.push(record.qos);
    flag(record.no_local, out);
    flag(record.retain_as_published, out);
    optional(record.identifier.as_ref(), out, |id, out| number(u64::from(*id), out));
}

fn flow(record: &FlowRecord, out: &mut Vec<u8>) {
    out.extend_from_slice(&record.packet_id.to_le_bytes());
    optional(record.delivery.as_ref(), out, delivery);
}

fn delivery(record: &DeliveryRecord, out: &mut Vec<u8>) {
    number(u64::from(record.publication), out);
    out.push(record.qos);
    flag(record.retain, out);
    shape(&record.identifiers, record.shared.as_ref(), out);
}

/// What a delivery has from the subscriptions it came through.
pub(crate) fn shape(identifiers: &[u32], shared: Option<&(String, String)>, out: &mut Vec<u8>) {
    all(identifiers, out, |id, out| number(u64::from(*id), out));
    optional(shared, out, |(share, filter), out| {
        text(share, out);
        text(filter, out);
    });
}

/// A Will.
pub(crate) fn will(record: &WillRecord, out: &mut Vec<u8>) {
    text(&record.topic, out);
    bytes(&record.payload, out);
    out.push(record.qos);
    flag(record.retain, out);
    bytes(&record.forwarded, out);
    optional(record.message_expiry_s.as_ref(), out, |s, out| out.extend_from_slice(&s.to_le_bytes()));
    out.extend_from_slice(&record.due_at_ms.to_le_bytes());
}

fn all<T>(records: &[T], out: &mut Vec<u8>, mut one: impl FnMut(&T, &mut Vec<u8>)) {
    number(records.len() as u64, out);
    for record in records {
        one(record, out);
    }
}

fn optional<T>(value: Option<&T>, out: &mut Vec<u8>, one: impl FnOnce(&T, &mut Vec<u8>)) {
    flag(value.is_some(), out);
    if let Some(value) = value {
        one(value, out);
    }
}

fn flag(value: bool, out: &mut Vec<u8>) {
    out.push(u8::from(value));
}

fn text(value: &str, out: &mut Vec<u8>) {
    bytes(value.as_bytes(), out);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    number(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// LEB128, as short as can be.
fn number(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
