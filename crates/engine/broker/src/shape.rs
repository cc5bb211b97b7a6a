//! Encoding a publication once for each shape in which it goes out: version, QoS, RETAIN. What differs for one client
//! only (Packet Identifier, Subscription Identifiers, Topic Alias) is patched in or makes it an encoding of its own.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use motte_wire::{PacketId, ProtocolVersion, PublishHead, QoS};

use crate::output::{Output, SHARED_BYTES_MIN};
use crate::payload::Payload;
use crate::publication::{Publication, seconds_left};

/// Largest packet that the Remaining Length can express (MQTT-1.5.5-1), with its fixed header.
const PACKET_BYTES_MAX: u32 = 268_435_460;

/// How a message goes out to one client.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// Protocol version of the client.
    pub version: ProtocolVersion,
    /// DUP.
    pub dup: bool,
    /// QoS of this delivery.
    pub qos: QoS,
    /// RETAIN of this delivery.
    pub retain: bool,
    /// Subscription Identifiers.
    pub identifiers: &'a [NonZeroU32],
    /// Topic Alias.
    pub alias: Option<NonZeroU16>,
    /// Whether the alias stands alone, without the topic's name.
    pub alias_only: bool,
}

impl Form<'_> {
    /// Whether other clients can get the same bytes.
    fn common(&self) -> bool {
        !self.dup && self.identifiers.is_empty() && self.alias.is_none()
    }

    fn index(&self) -> usize {
        let version = usize::from(self.version == ProtocolVersion::V5);
        (version * 3 + self.qos as usize) * 2 + usize::from(self.retain)
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    start: usize,
    end: usize,
    packet_id_at: Option<usize>,
    wire_len: usize,
}

/// The shapes of one publication, and the buffer they are made in; reused for the next one.
#[derive(Debug, Default)]
pub struct Shapes {
    bytes: Vec<u8>,
    /// Whether only one recipient is to come: then the packet is made in its output and nowhere else.
    single: bool,
    made: [Option<Shape>; 12],
    payload: Option<Arc<[u8]>>,
}

/// The packet was not appended: it is larger than the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl Shapes {
    /// Begins another publication, for this many recipients.
    pub fn begin_for(&mut self, recipients: usize) {
        self.single = recipients == 1;
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.made = [None; 12];
        }
        if self.payload.is_some() {
            self.payload = None;
        }
    }

    /// Appends `publication` to `output` in this form.
    ///
    /// # Errors
    /// [`TooLarge`] when the whole packet has more than `bytes_max` bytes; nothing is appended.
    pub fn append(
        &mut self,
        publication: &Publication<'_>,
        form: Form<'_>,
        packet_id: Option<PacketId>,
        now_ms: u64,
        bytes_max: u32,
        output: &mut Output,
    ) -> Result<(), TooLarge> {
        if self.single || !form.common() {
            let head = head(publication, form, packet_id, now_ms);
            if head.wire_len() > bytes_max.min(PACKET_BYTES_MAX) as usize {
                return Err(TooLarge);
            }
            head.encode(output.buffer());
            self.append_payload(publication, output);
            return Ok(());
        }
        let shape = match self.made.get(form.index()).copied().flatten() {
            Some(shape) => shape,
            None => self.make(publication, form, now_ms),
        };
        if shape.wire_len > bytes_max.min(PACKET_BYTES_MAX) as usize {
            return Err(TooLarge);
        }
        let buffer = output.buffer();
        let at = buffer.len();
        buffer.extend_from_slice(self.bytes.get(shape.start..shape.end).unwrap_or_default());
        if let (Some(offset), Some(id)) = (shape.packet_id_at, packet_id)
            && let Some(place) = buffer.get_mut(at + offset..at + offset + 2)
        {
            place.copy_from_slice(&id.value().to_be_bytes());
        }
        if publication.payload.len() >= SHARED_BYTES_MIN {
            self.append_payload(publication, output);
        }
        Ok(())
    }

    fn make(&mut self, publication: &Publication<'_>, form: Form<'_>, now_ms: u64) -> Shape {
        let start = self.bytes.len();
        let placeholder = (form.qos != QoS::AtMostOnce).then_some(PacketId::MIN);
        let head = head(publication, form, placeholder, now_ms);
        let packet_id_at = head.encode(&mut self.bytes);
        if publication.payload.len() < SHARED_BYTES_MIN {
            self.bytes.extend_from_slice(publication.payload);
        }
        let shape = Shape { start, end: self.bytes.len(), packet_id_at, wire_len: head.wire_len() };
        if let Some(slot) = self.made.get_mut(form.index()) {
            *slot = Some(shape);
        }
        shape
    }

    fn append_payload(&mut self, publication: &Publication<'_>, output: &mut Output) {
        if publication.payload.len() < SHARED_BYTES_MIN {
            output.extend(publication.payload);
        } else {
            let payload = self.payload.get_or_insert_with(|| Arc::from(publication.payload));
            output.share(Arc::clone(payload));
        }
    }

    /// Names the stored payload, so that large ones are shared with it.
    pub fn set_payload(&mut self, payload: &Payload) {
        if let Some(payload) = payload.shared().filter(|payload| payload.len() >= SHARED_BYTES_MIN)
            && self.payload.is_none()
        {
            self.payload = Some(Arc::clone(payload));
        }
    }
}

fn head<'a>(
    publication: &Publication<'a>,
    form: Form<'a>,
    packet_id: Option<PacketId>,
    now_ms: u64,
) -> PublishHead<'a> {
    PublishHead {
        version: form.version,
        dup: form.dup,
        qos: form.qos,
        retain: form.retain,
        topic: if form.alias_only { "" } else { publication.topic.as_str() },
        packet_id,
        alias: form.alias,
        message_expiry_s: seconds_left(publication.expires_ms, now_ms),
        subscription_identifiers: form.identifiers,
        forwarded: publication.forwarded,
        payload_len: publication.payload.len(),
    }
}
