//! The client.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use motte_transport::ClientStream;
use motte_wire::{
    Ack, Connect, ControlPacket, DecodeRules, Disconnect, PINGREQ, PacketId, ProtocolVersion, PublishHead,
    QoS, ReasonCode, Subscribe, SubscribeEntry, SubscribeOptions, Unsubscribe, Will, decode, frame,
};

use crate::options::{ConnectOptions, OutMessage};
use crate::received::{Accepted, Incoming, Message};

/// Why the connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// The broker refused CONNECT.
    #[error("the broker refused the connection: {} (0x{:02x}){}\n  remedy: {}", .0.name(), .0.0, hint_text(.1.as_deref()), remedy(*.0))]
    Refused(ReasonCode, Option<String>),
    /// The broker said goodbye.
    #[error("the broker ended the connection: {} (0x{:02x})\n  remedy: {}", .0.name(), .0.0, remedy(*.0))]
    Disconnected(ReasonCode),
    /// The connection is gone.
    #[error("the connection was lost: {0}\n  remedy: look at the broker's log for the cause")]
    Lost(#[from] io::Error),
    /// The broker closed the connection without a word.
    #[error(
        "the broker closed the connection without a word\n  remedy: look at the broker's log for the cause"
    )]
    Closed,
    /// No answer came in time.
    #[error(
        "the broker did not answer in time\n  remedy: check that this port speaks MQTT (and TLS, if --ca is given)"
    )]
    TimedOut,
    /// The broker sent something that is no MQTT.
    #[error(
        "the answer is no MQTT: {0}\n  remedy: check the port; if it speaks TLS, give --ca FILE or --as NAME"
    )]
    Protocol(String),
    /// A topic or filter is not valid.
    #[error("`{0}` is not a Topic Name: it must not be empty nor hold + or #")]
    Topic(String),
}

fn hint_text(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(": {text}"))
}

fn remedy(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => "check the user name and the password",
        ReasonCode::NOT_AUTHORIZED => {
            "show a credential that the broker knows (--as NAME, --cert and --key, or -u), and check its policy"
        }
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => {
            "use the identity's own name as Client Identifier, or `NAME-…` (-i)"
        }
        ReasonCode::SERVER_BUSY | ReasonCode::QUOTA_EXCEEDED => {
            "try again later, or raise the broker's limits"
        }
        ReasonCode::SESSION_TAKEN_OVER => {
            "another client uses the same Client Identifier: give each its own (-i)"
        }
        ReasonCode::SERVER_SHUTTING_DOWN => "connect again when the broker is back",
        ReasonCode::PACKET_TOO_LARGE => {
            "send smaller messages, or raise limits.packet_bytes_max on the broker"
        }
        _ => "look at the broker's log: it names the cause",
    }
}

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);

/// A connected client.
#[derive(Debug)]
pub struct Client {
    stream: ClientStream,
    version: ProtocolVersion,
    unread: Vec<u8>,
    next_id: u16,
    keep_alive: Duration,
    last_sent: Instant,
    aliases: HashMap<u16, String>,
    /// Identifiers of QoS 2 messages taken and not yet released.
    open: Vec<u16>,
    /// What arrived while something else was awaited.
    early: std::collections::VecDeque<Incoming>,
}

impl Client {
    /// Connects over a stream.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn connect(stream: ClientStream, options: &ConnectOptions) -> Result<(Self, Accepted), ClientFault> {
        let mut client = Self {
            stream,
            version: options.version,
            unread: Vec::new(),
            next_id: 0,
            keep_alive: Duration::from_secs(u64::from(options.keep_alive_s)),
            last_sent: Instant::now(),
            aliases: HashMap::new(),
            open: Vec::new(),
            early: std::collections::VecDeque::new(),
        };
        let mut out = Vec::new();
        encode_connect(options, &mut out)?;
        client.send(&out)?;
        let deadline = Instant::now() + ANSWER;
        loop {
            if !client.fill(deadline)? {
                return Err(ClientFault::TimedOut);
            }
            let Some((bytes, packet)) = take(&client.unread, client.version)? else { continue };
            let answer = match packet {
                ControlPacket::ConnAck(ack) if !ack.reason.is_failure() => Ok(Accepted::from_packet(&ack)),
                ControlPacket::ConnAck(ack) => {
                    Err(ClientFault::Refused(ack.reason, ack.properties.reason_string.map(str::to_owned)))
                }
                ControlPacket::Disconnect(packet) => Err(ClientFault::Disconnected(packet.reason)),
                _ => Err(ClientFault::Protocol("another packet than CONNACK".into())),
            };
            client.unread.drain(..bytes);
            let accepted = answer?;
            if let Some(seconds) = accepted.server_keep_alive_s {
                client.keep_alive = Duration::from_secs(u64::from(seconds));
            }
            return Ok((client, accepted));
        }
    }

    /// What TLS agreed on.
    pub fn tls_summary(&self) -> Option<String> {
        self.stream.tls_summary()
    }

    /// Publishes, and waits for the acknowledgement of QoS 1 and 2. Gives its Reason Code.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn publish(&mut self, message: &OutMessage) -> Result<ReasonCode, ClientFault> {
        let id = self.publish_only(message)?;
        let Some(id) = id else { return Ok(ReasonCode::SUCCESS) };
        match self.wait_for(|incoming| matches!(incoming, Incoming::Published(of, _) if *of == id.value()))? {
            Incoming::Published(_, reason) => Ok(reason),
            _ => Err(ClientFault::TimedOut),
        }
    }

    /// Publishes without waiting; the acknowledgement arrives as [`Incoming::Published`].
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn publish_only(&mut self, message: &OutMessage) -> Result<Option<PacketId>, ClientFault> {
        if message.topic.is_empty() || message.topic.contains(['+', '#', '\0']) {
            return Err(ClientFault::Topic(message.topic.clone()));
        }
        let packet_id = (message.qos != QoS::AtMostOnce).then(|| self.id());
        let forwarded = message.forwarded();
        let head = PublishHead {
            version: self.version,
            dup: false,
            qos: message.qos,
            retain: message.retain,
            topic: &message.topic,
            packet_id,
            alias: None,
            message_expiry_s: message.expiry_s,
            subscription_identifiers: &[],
            forwarded: &forwarded,
            payload_len: message.payload.len(),
        };
        let mut out = Vec::new();
        head.encode(&mut out);
        out.extend_from_slice(&message.payload);
        self.send(&out)?;
        Ok(packet_id)
    }

    /// Subscribes, and waits for SUBACK. Gives a Reason Code for each filter.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn subscribe(
        &mut self,
        filters: &[(&str, SubscribeOptions)],
    ) -> Result<Vec<ReasonCode>, ClientFault> {
        let id = self.id();
        let entries: Vec<SubscribeEntry<'_>> =
            filters.iter().map(|(filter, options)| SubscribeEntry { filter, options: *options }).collect();
        let mut out = Vec::new();
        Subscribe::encode_new(self.version, id, None, &entries, &mut out);
        self.send(&out)?;
        self.wait_for_codes(id)
    }

    /// Unsubscribes, and waits for UNSUBACK.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<Vec<ReasonCode>, ClientFault> {
        let id = self.id();
        let mut out = Vec::new();
        Unsubscribe::encode_new(self.version, id, filters, &mut out);
        self.send(&out)?;
        self.wait_for_codes(id)
    }

    /// The next thing that arrives within `timeout`; `None`: nothing did. Sends PINGREQ when it is time.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Incoming>, ClientFault> {
        if let Some(incoming) = self.early.pop_front() {
            return Ok(Some(incoming));
        }
        self.arrive(Instant::now() + timeout)
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn disconnect(mut self, reason: ReasonCode) -> Result<(), ClientFault> {
        let mut out = Vec::new();
        Disconnect::new(reason).encode(self.version, &mut out);
        self.send(&out)
    }

    fn wait_for_codes(&mut self, id: PacketId) -> Result<Vec<ReasonCode>, ClientFault> {
        match self
            .wait_for(|incoming| matches!(incoming, Incoming::Subscribed(of, _) if *of == id.value()))?
        {
            Incoming::Subscribed(_, codes) => Ok(codes),
            _ => Err(ClientFault::TimedOut),
        }
    }

    fn wait_for(&mut self, wanted: impl Fn(&Incoming) -> bool) -> Result<Incoming, ClientFault> {
        let deadline = Instant::now() + ANSWER;
        loop {
            match self.arrive(deadline)? {
                Some(Incoming::Disconnected(reason)) => return Err(ClientFault::Disconnected(reason)),
                Some(incoming) if wanted(&incoming) => return Ok(incoming),
                Some(other) => self.early.push_back(other),
                None => return Err(ClientFault::TimedOut),
            }
        }
    }

    fn arrive(&mut self, deadline: Instant) -> Result<Option<Incoming>, ClientFault> {
        loop {
            let mut answer = Vec::new();
            let taken = match take(&self.unread, self.version)? {
                Some((bytes, packet)) => Some((
                    bytes,
                    handle(&packet, self.version, &mut self.aliases, &mut self.open, &mut answer)?,
                )),
                None => None,
            };
            if !answer.is_empty() {
                self.send(&answer)?;
            }
            match taken {
                Some((bytes, incoming)) => {
                    self.unread.drain(..bytes);
                    if incoming.is_some() {
                        return Ok(incoming);
                    }
                }
                None => {
                    if !self.fill(deadline)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads what is there, waiting until the deadline; false when nothing came.
    fn fill(&mut self, deadline: Instant) -> Result<bool, ClientFault> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let now = Instant::now();
            if !self.keep_alive.is_zero() && now.duration_since(self.last_sent) >= self.keep_alive {
                self.send(&PINGREQ)?;
            }
            let Some(left) = deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                return Ok(false);
            };
            // Until the next PINGREQ is due, counted from what was sent last.
            let due = self.keep_alive.saturating_sub(self.last_sent.elapsed());
            let step = if self.keep_alive.is_zero() { left } else { left.min(due) };
            self.stream.set_read_timeout(Some(step.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ClientFault::Closed),
                Ok(n) => {
                    self.unread.extend_from_slice(buffer.get(..n).unwrap_or_default());
                    return Ok(true);
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ClientFault> {
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        self.last_sent = Instant::now();
        Ok(())
    }

    fn id(&mut self) -> PacketId {
        let id = PacketId::from_index(self.next_id);
        self.next_id = (self.next_id + 1) % u16::MAX;
        id
    }
}

fn take(bytes: &[u8], version: ProtocolVersion) -> Result<Option<(usize, ControlPacket<'_>)>, ClientFault> {
    let wrong = |text: String| ClientFault::Protocol(text);
    match frame(bytes, u32::MAX).map_err(|error| wrong(error.to_string()))? {
        Some(frame) => {
            let packet = decode(frame, version, &DecodeRules::from_server())
                .map_err(|error| wrong(error.to_string()))?;
            Ok(Some((frame.len, packet)))
        }
        None => Ok(None),
    }
}

fn handle(
    packet: &ControlPacket<'_>,
    version: ProtocolVersion,
    aliases: &mut HashMap<u16, String>,
    open: &mut Vec<u16>,
    answer: &mut Vec<u8>,
) -> Result<Option<Incoming>, ClientFault> {
    Ok(match packet {
        ControlPacket::Publish(publish) => {
            let topic = match (publish.topic, publish.properties.topic_alias) {
                (Some(topic), alias) => {
                    if let Some(alias) = alias {
                        aliases.insert(alias.get(), topic.as_str().to_owned());
                    }
                    topic.as_str().to_owned()
                }
                (None, alias) => alias
                    .and_then(|alias| aliases.get(&alias.get()).cloned())
                    .ok_or_else(|| ClientFault::Protocol("an unknown Topic Alias".into()))?,
            };
            if let Some(id) = publish.packet_id {
                let ack = Ack::new(id, ReasonCode::SUCCESS);
                if publish.qos == QoS::AtLeastOnce {
                    ack.encode_puback(version, answer);
                } else {
                    ack.encode_pubrec(version, answer);
                    if open.contains(&id.value()) {
                        return Ok(None);
                    }
                    open.push(id.value());
                }
            }
            Some(Incoming::Message(Message::from_packet(publish, topic)))
        }
        ControlPacket::PubRel(ack) => {
            open.retain(|id| *id != ack.packet_id.value());
            Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubcomp(version, answer);
            None
        }
        ControlPacket::PubRec(ack) if !ack.reason.is_failure() => {
            Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubrel(version, answer);
            None
        }
        ControlPacket::PubAck(ack) | ControlPacket::PubRec(ack) | ControlPacket::PubComp(ack) => {
            Some(Incoming::Published(ack.packet_id.value(), ack.reason))
        }
        ControlPacket::SubAck(ack) => {
            Some(Incoming::Subscribed(ack.packet_id.value(), ack.codes().collect()))
        }
        ControlPacket::UnsubAck(ack) => {
            Some(Incoming::Subscribed(ack.packet_id.value(), ack.codes().collect()))
        }
        ControlPacket::Disconnect(packet) => Some(Incoming::Disconnected(packet.reason)),
        ControlPacket::PingResp => None,
        _ => return Err(ClientFault::Protocol("a packet that a server does not send".into())),
    })
}

fn encode_connect(options: &ConnectOptions, out: &mut Vec<u8>) -> Result<(), ClientFault> {
    let mut connect = Connect::new(options.version, &options.client_id);
    connect.clean_start = options.clean_start;
    connect.keep_alive_s = options.keep_alive_s;
    connect.user_name = options.user_name.as_deref();
    connect.password = options.password.as_deref();
    connect.properties.session_expiry_s = options.session_expiry_s;
    connect.properties.topic_alias_maximum = 16;
    let forwarded = options.will.as_ref().map(|will| will.message.forwarded()).unwrap_or_default();
    if let Some(will) = &options.will {
        let topic = motte_wire::TopicRef::parse(&will.message.topic)
            .map_err(|_| ClientFault::Topic(will.message.topic.clone()))?;
        let mut packet = Will::new(topic, &will.message.payload, will.message.qos, will.message.retain)
            .with_forwarded(&forwarded);
        packet.delay_s = will.delay_s;
        packet.message_expiry_s = will.message.expiry_s;
        connect.will = Some(packet);
    }
    connect.encode(out);
    Ok(())
}
