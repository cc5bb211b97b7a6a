//! Bytes to records. Nothing in the file is believed: not a length, not an index, not a flag.

use std::sync::Arc;

use crate::record::{
    DeliveryRecord, FlowRecord, PrincipalRecord, PublicationRecord, SessionRecord, SubscriptionRecord,
    WillRecord,
};

use super::{HEADER_BYTES, MAGIC, Snapshot, SnapshotError, TRAILER_BYTES, VERSION};

type Result<T> = std::result::Result<T, SnapshotError>;

/// The whole file.
pub(super) fn file(file: &[u8]) -> Result<Snapshot> {
    let mut header = Reader { file, at: 0, end: file.len() };
    if file.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
        return Err(SnapshotError::NotASnapshot);
    }
    header.at = MAGIC.len();
    let version = u16::from_le_bytes(header.array("the format version")?);
    if version != VERSION {
        return Err(SnapshotError::Version { found: version });
    }
    let length = u64::from_le_bytes(header.array("the length")?);
    let truncated = SnapshotError::Truncated { at: file.len(), what: "the records" };
    let end = usize::try_from(length).ok().and_then(|length| HEADER_BYTES.checked_add(length));
    let end = end.filter(|end| end.saturating_add(TRAILER_BYTES) <= file.len()).ok_or(truncated)?;
    if end + TRAILER_BYTES < file.len() {
        return Err(SnapshotError::Trailing { at: end + TRAILER_BYTES });
    }
    let mut trailer = Reader { file, at: end, end: file.len() };
    let stored = u32::from_le_bytes(trailer.array("the checksum")?);
    let computed = crc32fast::hash(file.get(..end).unwrap_or_default());
    if stored != computed {
        return Err(SnapshotError::Checksum { stored, computed });
    }
    let mut body = Reader { file, at: HEADER_BYTES, end };
    let snapshot = body.snapshot()?;
    if body.at < end {
        return Err(SnapshotError::Trailing { at: body.at });
    }
    Ok(snapshot)
}

/// One record that fills its bytes exactly.
fn one<'a, T>(bytes: &'a [u8], record: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
    let mut reader = Reader { file: bytes, at: 0, end: bytes.len() };
    let value = record(&mut reader)?;
    if reader.at < reader.end {
        return Err(SnapshotError::Trailing { at: reader.at });
    }
    Ok(value)
}

/// Who the message that was read last is from, with the bytes that say so: queues hold many of one client.
#[derive(Debug, Default)]
pub(crate) struct LastSource(Option<(Box<[u8]>, Arc<PrincipalRecord>)>);

/// An Application Message.
pub(crate) fn publication(bytes: &[u8], last: &mut LastSource) -> Result<PublicationRecord> {
    one(bytes, |reader| {
        let message = reader.message()?;
        let rest = bytes.get(reader.at..).unwrap_or_default();
        let source = match &last.0 {
            Some((known, source)) if **known == *rest => {
                reader.at = reader.end;
                Arc::clone(source)
            }
            _ => {
                let source = Arc::new(reader.principal()?);
                last.0 = Some((Box::from(rest), Arc::clone(&source)));
                source
            }
        };
        Ok(message(source))
    })
}

/// A Session without what is on its way.
pub(crate) fn session_facts(bytes: &[u8]) -> Result<SessionRecord> {
    one(bytes, Reader::session_facts)
}

/// What a delivery has from the subscriptions it came through.
pub(crate) fn shape(bytes: &[u8]) -> Result<Shape> {
    one(bytes, Reader::shape)
}

/// A Will.
pub(crate) fn will(bytes: &[u8]) -> Result<WillRecord> {
    one(bytes, Reader::will)
}

/// Subscription Identifiers, and Share Name with Topic Filter.
pub(crate) type Shape = (Vec<u32>, Option<(String, String)>);

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn snapshot(&mut self) -> Result<Snapshot> {
        let taken_at_ms = self.time("the time of the snapshot")?;
        let publications = self.all("the messages", 12, Self::publication)?;
        let count = u32::try_from(publications.len()).unwrap_or(u32::MAX);
        let sessions = self.all("the Sessions", 18, |r| r.session(count))?;
        let retained = self.all("the Retained Messages", 1, |r| r.index(count))?;
        Ok(Snapshot { taken_at_ms, publications, sessions, retained })
    }

    fn publication(&mut self) -> Result<PublicationRecord> {
        let message = self.message()?;
        Ok(message(Arc::new(self.principal()?)))
    }

    /// A message up to its source, which is the last of it.
    fn message(&mut self) -> Result<impl FnOnce(Arc<PrincipalRecord>) -> PublicationRecord + use<>> {
        let topic = self.text("Topic Name")?;
        let payload = Arc::from(self.bytes("payload")?);
        let qos = self.qos()?;
        let retain = self.flag("RETAIN")?;
        let forwarded = self.bytes("properties")?.to_vec();
        let expires_at_ms = self.optional("expiry", |r| r.time("expiry"))?;
        Ok(move |source| PublicationRecord { topic, payload, qos, retain, forwarded, expires_at_ms, source })
    }

    fn principal(&mut self) -> Result<PrincipalRecord> {
        Ok(PrincipalRecord {
            kind: self.below("kind of principal", 5)?,
            identity: self.text("identity")?,
            client_id: self.text("Client Identifier")?,
            user_name: self.optional("User Name", |r| r.text("User Name"))?,
            methods: self.byte("methods")?,
            listener: self.text("listener")?,
            security: self.byte("protection")?,
            address: self.optional("address", |r| r.text("address"))?,
            certificate: self.optional("certificate", |r| {
                r.all("certificate facts", 2, |r| {
                    Ok((r.text("certificate fact")?, r.text("certificate fact")?))
                })
            })?,
        })
    }

    fn session(&mut self, publications: u32) -> Result<SessionRecord> {
        let facts = self.session_facts()?;
        Ok(SessionRecord {
            flows: self.all("open flows", 3, |r| r.flow(publications))?,
            queued: self.all("waiting messages", 5, |r| r.delivery(publications))?,
            inbound: self.all("unreleased Packet Identifiers", 2, Self::packet_id)?,
            will: self.optional("Will", Self::will)?,
            ..facts
        })
    }

    fn session_facts(&mut self) -> Result<SessionRecord> {
        Ok(SessionRecord {
            principal: self.principal()?,
            level: self.level()?,
            expiry_s: u32::from_le_bytes(self.array("Session Expiry Interval")?),
            ends_at_ms: self.optional("end of the Session", |r| r.time("end of the Session"))?,
            subscriptions: self.all("subscriptions", 6, Self::subscription)?,
            flows: Vec::new(),
            queued: Vec::new(),
            inbound: Vec::new(),
            will: None,
        })
    }

    fn subscription(&mut self) -> Result<SubscriptionRecord> {
        Ok(SubscriptionRecord {
            share: self.optional("Share Name", |r| r.text("Share Name"))?,
            filter: self.text("Topic Filter")?,
            qos: self.qos()?,
            no_local: self.flag("No Local")?,
            retain_as_published: self.flag("Retain As Published")?,
            identifier: self.optional("Subscription Identifier", |r| r.narrow("Subscription Identifier"))?,
        })
    }

    fn flow(&mut self, publications: u32) -> Result<FlowRecord> {
        Ok(FlowRecord {
            packet_id: self.packet_id()?,
            delivery: self.optional("delivery", |r| r.delivery(publications))?,
        })
    }

    fn delivery(&mut self, publications: u32) -> Result<DeliveryRecord> {
        let (publication, qos) = (self.index(publications)?, self.qos()?);
        let retain = self.flag("RETAIN")?;
        let (identifiers, shared) = self.shape()?;
        Ok(DeliveryRecord { publication, qos, retain, identifiers, shared })
    }

    fn shape(&mut self) -> Result<Shape> {
        let identifiers = self.all("Subscription Identifiers", 1, |r| r.narrow("Subscription Identifier"))?;
        let shared =
            self.optional("Shared Subscription", |r| Ok((r.text("Share Name")?, r.text("Topic Filter")?)))?;
        Ok((identifiers, shared))
    }

    fn will(&mut self) -> Result<WillRecord> {
        Ok(WillRecord {
            topic: self.text("Will Topic")?,
            payload: self.bytes("Will Payload")?.to_vec(),
            qos: self.qos()?,
            retain: self.flag("Will Retain")?,
            forwarded: self.bytes("Will Properties")?.to_vec(),
            message_expiry_s: self.optional("Message Expiry Interval", |r| {
                Ok(u32::from_le_bytes(r.array("Message Expiry Interval")?))
            })?,
            due_at_ms: self.time("Will Delay")?,
        })
    }

    fn all<T>(
        &mut self,
        what: &'static str,
        bytes_min: usize,
        mut one: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.number(what)?;
        let most = (self.end - self.at) / bytes_min;
        let count =
            usize::try_from(count).ok().filter(|count| *count <= most).ok_or_else(|| self.short(what))?;
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            records.push(one(self)?);
        }
        Ok(records)
    }

    fn optional<T>(
        &mut self,
        what: &'static str,
        one: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.flag(what)? { one(self).map(Some) } else { Ok(None) }
    }

    fn short(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Truncated { at: self.end, what }
    }

    fn impossible(&self, what: &'static str, value: impl Into<u64>) -> SnapshotError {
        SnapshotError::Value { what, value: value.into(), at: self.at }
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8]> {
        let end =
            self.at.checked_add(count).filter(|end| *end <= self.end).ok_or_else(|| self.short(what))?;
        let taken = self.file.get(self.at..end).ok_or_else(|| self.short(what))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let taken = self.take(N, what)?;
        taken.try_into().map_err(|_| self.short(what))
    }

    fn byte(&mut self, what: &'static str) -> Result<u8> {
        self.array(what).map(|[byte]| byte)
    }

    fn below(&mut self, what: &'static str, bound: u8) -> Result<u8> {
        let value = self.byte(what)?;
        if value < bound { Ok(value) } else { Err(self.impossible(what, value)) }
    }

    fn flag(&mut self, what: &'static str) -> Result<bool> {
        self.below(what, 2).map(|value| value == 1)
    }

    fn qos(&mut self) -> Result<u8> {
        self.below("QoS", 3)
    }

    fn level(&mut self) -> Result<u8> {
        let level = self.below("protocol level", 6)?;
        if level >= 3 { Ok(level) } else { Err(self.impossible("protocol level", level)) }
    }

    fn packet_id(&mut self) -> Result<u16> {
        let id = u16::from_le_bytes(self.array("Packet Identifier")?);
        if id > 0 { Ok(id) } else { Err(self.impossible("Packet Identifier", id)) }
    }

    fn time(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn index(&mut self, bound: u32) -> Result<u32> {
        let index = self.narrow("reference to a message")?;
        if index < bound { Ok(index) } else { Err(self.impossible("reference to a message", index)) }
    }

    fn narrow(&mut self, what: &'static str) -> Result<u32> {
        let value = self.number(what)?;
        u32::try_from(value).map_err(|_| self.impossible(what, value))
    }

    fn text(&mut self, what: &'static str) -> Result<String> {
        let bytes = self.bytes(what)?;
        let text = std::str::from_utf8(bytes).map_err(|_| SnapshotError::Text { what, at: self.at })?;
        Ok(text.to_owned())
    }

    fn bytes(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let count = self.number(what)?;
        let count = usize::try_from(count).map_err(|_| self.short(what))?;
        self.take(count, what)
    }

    /// LEB128; only the shortest form of a number is taken, so that a snapshot has one encoding.
    fn number(&mut self, what: &'static str) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part || (byte == 0 && shift > 0) {
                return Err(self.impossible(what, byte));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.impossible(what, value))
    }
}
