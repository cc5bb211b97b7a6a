//! Enhanced authentication: the exchange of AUTH packets at CONNECT and on a live connection (5.0 section 4.12).

use std::sync::Arc;

use motte_access::{ClientPrincipal, CompiledPolicy, Methods, PolicyGeneration, Principal, Security};
use motte_broker::{
    Broker, CloseCause, ConnId, Effects, Exchange, Handover, Input, Link, LoadRequest, Now, Output, Question,
    RetainedLimits, Settings, ShardId, ShardMessage, Verdict,
};
use motte_session::SessionLimits;
use motte_store::Batch;
use motte_topic::TopicLimits;
use motte_wire::{
    Auth, Connect, ControlPacket, DecodeRules, ProtocolVersion, QoS, ReasonCode, TextRules, decode, frame,
};

const CONN: ConnId = ConnId { slot: 0, epoch: 1 };
const NOW: Now = Now { mono_ms: 1, unix_ms: 1 };

#[derive(Default)]
struct World {
    output: Output,
    asked: Vec<(&'static str, Vec<u8>)>,
    closed: Option<CloseCause>,
    told: Vec<&'static str>,
}

impl Effects for World {
    fn output(&mut self, _: ConnId) -> Option<&mut Output> {
        Some(&mut self.output)
    }
    fn backlog(&self, _: ConnId) -> usize {
        0
    }
    fn established(&mut self, _: ConnId, _: ProtocolVersion, _: u32) {}
    fn close(&mut self, _: ConnId, cause: CloseCause) {
        self.closed = Some(cause);
    }
    fn authenticate(&mut self, _: ConnId, question: Question<'_>) {
        self.asked.push(match question {
            Question::Connect(connect) => {
                ("connect", connect.properties.authentication_data.unwrap_or_default().to_vec())
            }
            Question::Continue(auth) => ("continue", auth.data.unwrap_or_default().to_vec()),
            Question::Again { auth, .. } => ("again", auth.data.unwrap_or_default().to_vec()),
        });
    }
    fn hand_over(&mut self, _: ConnId, _: ShardId, _: Box<Handover>) {}
    fn send(&mut self, _: ShardId, _: ShardMessage) {}
    fn submit(&mut self, _: u64, batch: Batch, _: bool) -> Result<Batch, Batch> {
        Err(batch)
    }
    fn release(&mut self, _: ConnId, _: u64) {}
    fn load(&mut self, _: LoadRequest) {}
    fn group(&mut self, _: &Principal) -> u32 {
        0
    }
    fn event(&mut self, event: motte_event::Event) {
        self.told.push(event.spec().name);
    }
    fn random(&mut self) -> u128 {
        7
    }
}

impl World {
    /// The packets written so far: their type and reason, and the data of AUTH and CONNACK.
    fn written(&mut self) -> Vec<(&'static str, u8, Vec<u8>)> {
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let count = self.output.slices(&mut slices);
        let bytes: Vec<u8> = slices.iter().take(count).flat_map(|slice| slice.to_vec()).collect();
        self.output.clear();
        let mut rest = bytes.as_slice();
        let mut packets = Vec::new();
        while let Some(one) = frame(rest, u32::MAX).unwrap() {
            packets.push(match decode(one, ProtocolVersion::V5, &DecodeRules::from_server()).unwrap() {
                ControlPacket::ConnAck(ack) => {
                    ("connack", ack.reason.0, ack.properties.authentication_data.unwrap_or_default().to_vec())
                }
                ControlPacket::Auth(auth) => ("auth", auth.reason.0, auth.data.unwrap_or_default().to_vec()),
                ControlPacket::Disconnect(packet) => ("disconnect", packet.reason.0, Vec::new()),
                _ => ("other", 0, Vec::new()),
            });
            rest = rest.get(one.len..).unwrap_or_default();
        }
        packets
    }
}

fn limits() -> SessionLimits {
    SessionLimits {
        packet_bytes_max: 65_536,
        receive_maximum: 10,
        inflight_out_max: 10,
        topic_alias_maximum: 0,
        topic_alias_out_maximum: 0,
        keep_alive_s_min: 0,
        keep_alive_s_max: 0,
        session_expiry_s_max: 60,
        queued_messages_max: 10,
        queued_bytes_max: 10_000,
        sessions_per_identity_max: 1_000,
        subscriptions_max: 10,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        shared_available: true,
        subscription_identifiers_available: true,
        payload_format_checked: false,
        write_buffer_bytes_max: 65_536,
        durability: motte_session::Durability::Memory,
        topic: TopicLimits::STANDARD,
        text: TextRules::default(),
    }
}

fn identity(name: &str) -> ClientPrincipal {
    ClientPrincipal {
        identity: Arc::from(name),
        client_id: Arc::from(""),
        user_name: None,
        token: None,
        ends_s: None,
        directory: None,
        certificate: None,
        methods: Methods::PASSWORD,
        listener: Arc::from("main"),
        security: Security::Tls,
        address: None,
        credential: 0,
    }
}

fn with_token(name: &str, ends_s: u64) -> Verdict {
    let token = motte_access::TokenFacts { ends_s, ..motte_access::TokenFacts::default() };
    let principal = ClientPrincipal { token: Some(Arc::new(token)), ..identity(name) };
    Verdict::Accepted { principal: Box::new(principal), data: None, advice: None }
}

/// A broker with a client whose CONNECT asks for method `M`.
fn connecting() -> (Broker, World) {
    let mut broker = Broker::new(Settings {
        shard: ShardId(0),
        shards: 1,
        home_key: [1, 2],
        policy: Arc::new(CompiledPolicy::development_allow_all(PolicyGeneration(1))),
        exchange: Exchange::new(RetainedLimits { messages_max: 10, bytes_max: 10_000 }, 1 << 20),
        report_no_subscribers: true,
        numbers: None,
    });
    let mut world = World::default();
    let link = Link {
        listener: Arc::from("main"),
        address: None,
        security: Security::Tls,
        limits: Arc::new(limits()),
    };
    broker.handle(NOW, Input::Connected { conn: CONN, link }, &mut world);
    let mut connect = Connect::new(ProtocolVersion::V5, "dev");
    connect.properties.authentication_method = Some("M");
    connect.properties.authentication_data = Some(b"first");
    let packet = ControlPacket::Connect(Box::new(connect));
    broker.handle(NOW, Input::Packet { conn: CONN, packet: &packet, bytes: 1 }, &mut world);
    (broker, world)
}

fn auth(broker: &mut Broker, world: &mut World, reason: ReasonCode, method: &str, data: &[u8]) {
    let packet = ControlPacket::Auth(Auth::new(reason, Some(method), Some(data)));
    broker.handle(NOW, Input::Packet { conn: CONN, packet: &packet, bytes: 1 }, world);
}

fn verdict(broker: &mut Broker, world: &mut World, verdict: Verdict) {
    broker.handle(NOW, Input::Verdict { conn: CONN, verdict }, world);
}

fn accepted(name: &str) -> Verdict {
    Verdict::Accepted { principal: Box::new(identity(name)), data: Some(b"last".to_vec()), advice: None }
}

// MQTT-4.12.0-2@5.0 MQTT-4.12.0-5@5.0
#[test]
fn an_exchange_at_connect_goes_step_by_step_and_ends_in_connack() {
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, Verdict::Continue { data: b"challenge".to_vec() });
    assert_eq!(world.written(), [("auth", 0x18, b"challenge".to_vec())]);
    auth(&mut broker, &mut world, ReasonCode::CONTINUE_AUTHENTICATION, "M", b"response");
    verdict(&mut broker, &mut world, accepted("dev"));
    assert_eq!(world.written(), [("connack", 0, b"last".to_vec())]);
    assert_eq!(world.asked, [("connect", b"first".to_vec()), ("continue", b"response".to_vec())]);
}

// MQTT-4.12.0-4@5.0
#[test]
fn another_method_or_a_step_out_of_turn_ends_it() {
    let (mut broker, mut world) = connecting();
    auth(&mut broker, &mut world, ReasonCode::CONTINUE_AUTHENTICATION, "M", b"too early");
    assert!(world.closed.is_some());
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, Verdict::Continue { data: Vec::new() });
    auth(&mut broker, &mut world, ReasonCode::CONTINUE_AUTHENTICATION, "N", b"");
    assert!(world.closed.is_some());
    let (mut broker, mut world) = connecting();
    let refused = Verdict::Refused { reason: ReasonCode::NOT_AUTHORIZED, cause: "no".into() };
    verdict(&mut broker, &mut world, refused);
    assert_eq!(world.written(), [("connack", 0x87, Vec::new())]);
}

// MQTT-4.12.1-2@5.0 MQTT-4.12.1-1@5.0
#[test]
fn a_live_client_proves_itself_again_or_goes() {
    let live = || {
        let (mut broker, mut world) = connecting();
        verdict(&mut broker, &mut world, accepted("dev"));
        world.written();
        auth(&mut broker, &mut world, ReasonCode::RE_AUTHENTICATE, "M", b"again");
        assert_eq!(world.asked.last().unwrap(), &("again", b"again".to_vec()));
        (broker, world)
    };
    let (mut broker, mut world) = live();
    verdict(&mut broker, &mut world, accepted("dev"));
    assert_eq!(world.written(), [("auth", 0, b"last".to_vec())]);
    for wrong in [
        accepted("somebody-else"),
        Verdict::Refused { reason: ReasonCode::NOT_AUTHORIZED, cause: "no".into() },
    ] {
        let (mut broker, mut world) = live();
        verdict(&mut broker, &mut world, wrong);
        assert_eq!(world.written(), [("disconnect", 0x87, Vec::new())]);
        assert_eq!(world.closed, Some(CloseCause::Revoked));
        assert!(world.told.contains(&"gate.reauthentication_refused"), "{:?}", world.told);
    }
}

fn at(ms: u64) -> Now {
    Now { mono_ms: ms, unix_ms: ms }
}

fn begin_again(broker: &mut Broker, world: &mut World, now: Now) {
    let auth = Auth::new(ReasonCode::RE_AUTHENTICATE, Some("M"), Some(b"again"));
    broker.handle(now, Input::Packet { conn: CONN, packet: &ControlPacket::Auth(auth), bytes: 1 }, world);
}

#[test]
fn a_token_that_is_presented_in_time_replaces_the_one_that_ends() {
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, with_token("dev", 100));
    world.written();
    begin_again(&mut broker, &mut world, at(50_000));
    broker.handle(at(50_000), Input::Verdict { conn: CONN, verdict: with_token("dev", 120) }, &mut world);
    assert_eq!(world.written(), [("auth", 0, Vec::new())]);
    assert!(world.told.contains(&"gate.reauthenticated"));
    broker.handle(at(110_000), Input::Tick, &mut world);
    assert!(world.closed.is_none(), "the first token has ended, the second not");
    broker.handle(at(120_001), Input::Tick, &mut world);
    assert_eq!(world.closed, Some(CloseCause::Revoked));
    assert!(world.told.contains(&"gate.credential_ended"));
}

#[test]
fn an_exchange_on_a_live_connection_ends_in_time() {
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, accepted("dev"));
    world.written();
    begin_again(&mut broker, &mut world, at(1_000));
    let challenge = Verdict::Continue { data: b"challenge".to_vec() };
    broker.handle(at(1_000), Input::Verdict { conn: CONN, verdict: challenge }, &mut world);
    broker.handle(at(30_999), Input::Tick, &mut world);
    assert!(world.closed.is_none());
    broker.handle(at(31_000), Input::Tick, &mut world);
    assert_eq!(world.closed, Some(CloseCause::Revoked));
    assert_eq!(world.written(), [("auth", 0x18, b"challenge".to_vec()), ("disconnect", 0x87, Vec::new())]);
}

#[test]
fn a_client_that_authenticates_again_too_often_goes() {
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, accepted("dev"));
    for _ in 0..4 {
        begin_again(&mut broker, &mut world, NOW);
        verdict(&mut broker, &mut world, accepted("dev"));
    }
    assert!(world.closed.is_none());
    world.written();
    begin_again(&mut broker, &mut world, NOW);
    assert_eq!(world.written(), [("disconnect", 0x96, Vec::new())]);
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, accepted("dev"));
    for turn in 0..20 {
        begin_again(&mut broker, &mut world, at(turn * 10_000));
        let verdict = accepted("dev");
        broker.handle(at(turn * 10_000), Input::Verdict { conn: CONN, verdict }, &mut world);
    }
    assert!(world.closed.is_none(), "once in ten seconds is not too often");
}

#[test]
fn a_reason_of_connack_that_disconnect_has_not_is_told_as_not_authorized() {
    let (mut broker, mut world) = connecting();
    verdict(&mut broker, &mut world, accepted("dev"));
    world.written();
    begin_again(&mut broker, &mut world, NOW);
    let refused = Verdict::Refused { reason: ReasonCode::BAD_USER_NAME_OR_PASSWORD, cause: "no".into() };
    verdict(&mut broker, &mut world, refused);
    assert_eq!(world.written(), [("disconnect", 0x87, Vec::new())]);
}
