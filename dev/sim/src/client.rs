//! A client of the simulation: it keeps its own books as the standard wants, and loses what the network loses.

use std::collections::BTreeSet;

use motte_broker::{ConnId, ShardId};
use motte_wire::{Ack, ControlPacket, DecodeRules, ProtocolVersion, QoS, ReasonCode, decode, frame};

/// Keep Alive of those who have one, in seconds.
const KEEP_ALIVE_S: u16 = 10;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) persistent: bool,
    pub(crate) version: ProtocolVersion,
    pub(crate) conn: Option<(ShardId, ConnId)>,
    pub(crate) accepted: bool,
    /// Whether the Session of the present connection outlives it.
    pub(crate) outlives: bool,
    /// QoS 2 messages taken and not yet released: part of the client's Session State.
    pub(crate) open: BTreeSet<u16>,
    /// QoS 1 and 2 publications not acknowledged yet, with identifier and state.
    pub(crate) unacknowledged: Vec<(u16, u64, QoS, bool)>,
    pub(crate) next_id: u16,
    /// Messages that the server took responsibility for.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// CONNECT was sent and not answered yet.
    pub(crate) is_connecting: bool,
    /// The server ended before it answered CONNECT: which Session there is now is not known.
    pub(crate) is_unsure: bool,
    /// It was accepted while the disk failed, when CONNACK promises nothing for after a crash.
    pub(crate) is_unkept: bool,
    /// The Session was just taken up: what is not acknowledged is to be sent again.
    pub(crate) sends_again: bool,
    /// Seconds after which a Session that outlives its connection ends; `None`: never.
    pub(crate) expiry_s: Option<u32>,
    /// Since when the client is away, at the earliest and at the latest, in monotonic milliseconds.
    pub(crate) away: Option<(u64, u64)>,
    /// Whether CONNACK has to say that there is a Session; `None`: it may or may not.
    pub(crate) expects: Option<bool>,
    /// The Will of the present connection, with its delay in seconds.
    pub(crate) will: Option<(u64, u32)>,
    /// Something of `secret/` was written before the policy closed, and may be read yet.
    pub(crate) may_read_secrets: bool,
    /// Until when everything that was written was read, in monotonic milliseconds.
    pub(crate) drained_ms: u64,
    /// CONNACK said no.
    pub(crate) is_refused: bool,
    /// Seconds of its Keep Alive; 0: none.
    pub(crate) keep_alive_s: u16,
    /// When it sent something last, in monotonic milliseconds.
    pub(crate) said_ms: u64,
    /// It is gone and the broker does not know: it sends nothing and reads nothing.
    pub(crate) is_half_open: bool,
    /// Since when, in monotonic milliseconds.
    pub(crate) silent_ms: u64,
    /// Messages published while it was away, by their numbers, and how many of them came.
    pub(crate) absence: (u64, u64, usize),
}

/// What a client saw in the bytes it read.
#[derive(Debug)]
pub(crate) enum Seen {
    Accepted { present: bool },
    Refused(ReasonCode),
    Message { topic: String, number: u64, qos: u8, dup: bool, is_retained: bool },
    Subscribed(Vec<ReasonCode>),
    Unsubscribed,
    Denied { number: u64, reason: ReasonCode },
    Goodbye(ReasonCode),
}

impl Client {
    pub(crate) fn new(index: usize, persistent: bool, version: ProtocolVersion) -> Self {
        Self {
            id: format!("c{index}"),
            persistent,
            version,
            conn: None,
            accepted: false,
            outlives: false,
            open: BTreeSet::new(),
            unacknowledged: Vec::new(),
            next_id: 0,
            acknowledged: BTreeSet::new(),
            is_connecting: false,
            is_unsure: false,
            is_unkept: false,
            sends_again: false,
            expiry_s: (version == ProtocolVersion::V5 && index % 4 == 1).then_some(20),
            away: None,
            expects: None,
            will: None,
            may_read_secrets: false,
            drained_ms: 0,
            keep_alive_s: if index % 3 == 2 { KEEP_ALIVE_S } else { 0 },
            said_ms: 0,
            is_refused: false,
            is_half_open: false,
            silent_ms: 0,
            absence: (0, 0, 0),
        }
    }

    pub(crate) fn id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id % u16::MAX + 1;
            if self.unacknowledged.iter().all(|(id, ..)| *id != self.next_id) {
                return self.next_id;
            }
        }
    }

    /// Reads bytes; answers go into `answer`. With `is_cut` the network lost what follows.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        is_cut: bool,
        answer: &mut Vec<u8>,
    ) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        let mut rest = bytes;
        while let Some(one) = frame(rest, u32::MAX).map_err(|error| error.to_string())? {
            let packet =
                decode(one, self.version, &DecodeRules::from_server()).map_err(|error| error.to_string())?;
            rest = rest.get(one.len..).unwrap_or_default();
            self.take(packet, answer, &mut seen)?;
        }
        if rest.is_empty() || is_cut { Ok(seen) } else { Err("half a packet was written".into()) }
    }

    /// A publication was refused: its flow is over.
    fn denied(&mut self, id: u16, reason: ReasonCode, seen: &mut Vec<Seen>) {
        let flows = self.unacknowledged.iter().filter(|(own, ..)| *own == id);
        seen.extend(flows.map(|(_, number, ..)| Seen::Denied { number: *number, reason }));
        self.unacknowledged.retain(|(own, ..)| *own != id);
    }

    fn took(&mut self, id: u16) {
        let numbers =
            self.unacknowledged.iter().filter(|(own, ..)| *own == id).map(|(_, number, ..)| *number);
        self.acknowledged.extend(numbers);
    }

    fn take(
        &mut self,
        packet: ControlPacket<'_>,
        answer: &mut Vec<u8>,
        seen: &mut Vec<Seen>,
    ) -> Result<(), String> {
        match packet {
            ControlPacket::ConnAck(ack) if ack.reason.is_failure() => seen.push(Seen::Refused(ack.reason)),
            ControlPacket::ConnAck(ack) => {
                self.accepted = true;
                self.is_connecting = false;
                self.is_unsure = false;
                self.sends_again = true;
                seen.push(Seen::Accepted { present: ack.session_present });
            }
            ControlPacket::Publish(publish) => {
                let number = std::str::from_utf8(publish.payload);
                let number = number.ok().and_then(|text| text.trim_end().parse().ok());
                let topic = publish.topic.map(|topic| topic.as_str().to_owned()).unwrap_or_default();
                // What takes a Retained Message away says nothing more.
                let mut again = publish.payload.is_empty();
                let number: u64 = if again { 0 } else { number.ok_or("a payload that nobody sent")? };
                if let Some(id) = publish.packet_id {
                    let ack = Ack::new(id, ReasonCode::SUCCESS);
                    if publish.qos == QoS::AtLeastOnce {
                        ack.encode_puback(self.version, answer);
                    } else {
                        ack.encode_pubrec(self.version, answer);
                        again |= !self.open.insert(id.value());
                    }
                }
                if !again {
                    let (qos, is_retained) = (publish.qos as u8, publish.retain);
                    seen.push(Seen::Message { topic, number, qos, dup: publish.dup, is_retained });
                }
            }
            ControlPacket::PubRel(ack) => {
                self.open.remove(&ack.packet_id.value());
                Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubcomp(self.version, answer);
            }
            ControlPacket::PubAck(ack) | ControlPacket::PubRec(ack) if ack.reason.is_failure() => {
                self.denied(ack.packet_id.value(), ack.reason, seen);
            }
            ControlPacket::PubAck(ack) | ControlPacket::PubComp(ack) => {
                self.took(ack.packet_id.value());
                self.unacknowledged.retain(|(id, ..)| *id != ack.packet_id.value());
            }
            ControlPacket::PubRec(ack) => {
                self.took(ack.packet_id.value());
                if let Some(flow) =
                    self.unacknowledged.iter_mut().find(|(id, ..)| *id == ack.packet_id.value())
                {
                    flow.3 = true;
                }
                Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubrel(self.version, answer);
            }
            ControlPacket::SubAck(ack) => seen.push(Seen::Subscribed(ack.codes().collect())),
            ControlPacket::Disconnect(packet) => seen.push(Seen::Goodbye(packet.reason)),
            ControlPacket::UnsubAck(_) => seen.push(Seen::Unsubscribed),
            ControlPacket::PingResp => {}
            other => return Err(format!("a packet that no server sends: {other:?}")),
        }
        Ok(())
    }
}
