//! An independent model of what the journal keeps, random changes to both, and what the journal says it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use motte_store::disk::Disk;
use motte_store::journal::Journal;
use motte_store::{
    Batch, BlockCache, Group, NewDelivery, PrincipalRecord, Publication, PublicationId, PublicationRecord,
    SessionId, SessionRecord, SubscriptionRecord, WillRecord,
};

/// Xorshift64*.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.bits() >> 11) % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::try_from(self.below(all.len() as u64)).unwrap()).copied()
    }
}

/// A delivery in the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDelivery {
    pub publication: Option<u64>,
    pub packet_id: u16,
    pub qos: u8,
    pub retain: bool,
    pub identifiers: Vec<u32>,
    pub shared: Option<(String, String)>,
}

/// A Session in the model; facts and Will are numbers from which they are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelSession {
    pub facts: Option<u32>,
    pub will: Option<u32>,
    pub queue: BTreeMap<u64, ModelDelivery>,
    pub inbound: BTreeSet<u16>,
}

/// What should be in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    pub sessions: BTreeMap<u64, ModelSession>,
    pub retained: BTreeMap<String, u64>,
    pub facts: BTreeMap<String, Vec<u8>>,
    pub next_publication: u64,
    pub next_seq: u64,
    pub next_session: u64,
}

/// Sizes of what a workload makes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub payload_max: u64,
    pub groups: u32,
}

pub fn principal(client_id: &str) -> PrincipalRecord {
    PrincipalRecord {
        client_id: client_id.to_owned(),
        listener: "tls".to_owned(),
        ..PrincipalRecord::default()
    }
}

pub fn publication(id: u64, sizes: Sizes) -> PublicationRecord {
    let mut random = Random::new(id);
    let length = random.below(sizes.payload_max.max(1));
    let payload: Vec<u8> = (0..length).map(|_| random.bits().to_be_bytes()[0]).collect();
    PublicationRecord {
        topic: format!("canary-topic/{id}"),
        payload: Arc::from(payload),
        qos: 1,
        retain: id.is_multiple_of(3),
        forwarded: vec![1, 2, 3],
        expires_at_ms: id.is_multiple_of(2).then_some(id),
        source: Arc::new(principal("canary-publisher")),
    }
}

pub fn session(number: u64, version: u32) -> SessionRecord {
    SessionRecord {
        principal: principal(&format!("canary-client-{number}")),
        level: 5,
        expiry_s: version,
        ends_at_ms: Some(u64::from(version)),
        subscriptions: vec![SubscriptionRecord {
            share: None,
            filter: format!("canary-filter/{version}"),
            qos: 1,
            no_local: false,
            retain_as_published: true,
            identifier: Some(version),
        }],
        flows: Vec::new(),
        queued: Vec::new(),
        inbound: Vec::new(),
        will: None,
    }
}

pub fn will(version: u32) -> WillRecord {
    WillRecord {
        topic: "canary-will".to_owned(),
        payload: version.to_be_bytes().to_vec(),
        qos: 1,
        retain: false,
        forwarded: Vec::new(),
        message_expiry_s: None,
        due_at_ms: u64::from(version),
    }
}

impl Model {
    /// Makes a random batch and applies it to the model.
    pub fn step(&mut self, random: &mut Random, sizes: Sizes) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..=random.below(6) {
            self.change(random, sizes, &mut batch);
        }
        batch
    }

    fn some_session(&self, random: &mut Random) -> Option<u64> {
        random.pick(
            &self.sessions.iter().filter(|(_, s)| s.facts.is_some()).map(|(id, _)| *id).collect::<Vec<_>>(),
        )
    }

    fn change(&mut self, random: &mut Random, sizes: Sizes, batch: &mut Batch) {
        let group = Group(u32::try_from(random.below(u64::from(sizes.groups))).unwrap());
        let session = self.some_session(random);
        match (random.below(20), session) {
            (0 | 1, _) | (_, None) => self.put_session(random, group, batch),
            (2, Some(session)) if random.one_in(3) => {
                self.sessions.remove(&session);
                batch.remove_session(SessionId(session));
            }
            (3, Some(session)) => {
                let version = u32::try_from(random.below(1000)).unwrap();
                self.sessions.get_mut(&session).unwrap().will = Some(version);
                batch.put_will(group, SessionId(session), &will(version));
            }
            (4, Some(session)) => {
                self.sessions.get_mut(&session).unwrap().will = None;
                batch.remove_will(SessionId(session));
            }
            (5, Some(session)) => {
                let packet_id = u16::try_from(random.below(5) + 1).unwrap();
                let inbound = &mut self.sessions.get_mut(&session).unwrap().inbound;
                if inbound.insert(packet_id) {
                    batch.put_inbound(SessionId(session), packet_id);
                } else {
                    inbound.remove(&packet_id);
                    batch.remove_inbound(SessionId(session), packet_id);
                }
            }
            (6, Some(_)) => {
                let name = format!("fact-{}", random.below(4));
                if random.one_in(2) {
                    let value = random.bits().to_be_bytes().to_vec();
                    batch.put_fact(&name, &value);
                    self.facts.insert(name, value);
                } else {
                    batch.remove_fact(&name);
                    self.facts.remove(&name);
                }
            }
            (7 | 8, Some(_)) => self.retain(random, sizes, group, batch),
            (9..=12, Some(session)) => self.publish(random, sizes, group, session, batch),
            (13 | 14, Some(session)) => self.set_state(random, session, batch),
            (_, Some(session)) => {
                let queue = &mut self.sessions.get_mut(&session).unwrap().queue;
                let seq = match random.below(3) {
                    0 => random.pick(&queue.keys().copied().collect::<Vec<_>>()),
                    _ => queue.keys().next().copied(),
                };
                if let Some(seq) = seq {
                    queue.remove(&seq);
                    batch.remove_delivery(SessionId(session), seq);
                }
            }
        }
    }

    fn put_session(&mut self, random: &mut Random, group: Group, batch: &mut Batch) {
        let known = self.some_session(random).filter(|_| random.one_in(2));
        let number = known.unwrap_or_else(|| {
            self.next_session += 1;
            self.next_session
        });
        let version = u32::try_from(random.below(1000)).unwrap();
        self.sessions.entry(number).or_default().facts = Some(version);
        batch.put_session(group, SessionId(number), &session(number, version));
    }

    fn put_publication(&mut self, sizes: Sizes, group: Group, batch: &mut Batch) -> u64 {
        self.next_publication += 1;
        let record = publication(self.next_publication, sizes);
        batch.put_publication(group, PublicationId(self.next_publication), &Publication::from(&record));
        self.next_publication
    }

    fn retain(&mut self, random: &mut Random, sizes: Sizes, group: Group, batch: &mut Batch) {
        let topic = format!("canary-retained/{}", random.below(6));
        if random.one_in(3) {
            batch.remove_retained(&topic);
            self.retained.remove(&topic);
            return;
        }
        let id = self.put_publication(sizes, group, batch);
        batch.put_retained(&topic, PublicationId(id));
        self.retained.insert(topic, id);
    }

    fn publish(&mut self, random: &mut Random, sizes: Sizes, group: Group, first: u64, batch: &mut Batch) {
        let retained: Vec<u64> = self.retained.values().copied().collect();
        let old = random.pick(&retained).filter(|_| random.one_in(4));
        let id = old.unwrap_or_else(|| self.put_publication(sizes, group, batch));
        let others: Vec<u64> =
            self.sessions.iter().filter(|(_, s)| s.facts.is_some()).map(|(id, _)| *id).collect();
        let count = random.below(3);
        let others = (0..count).filter_map(|_| random.pick(&others)).collect::<Vec<_>>();
        for session in others.into_iter().chain([first]) {
            self.next_seq += 1;
            let delivery = ModelDelivery {
                publication: Some(id),
                packet_id: 0,
                qos: u8::try_from(random.below(2) + 1).unwrap(),
                retain: random.one_in(2),
                identifiers: if random.one_in(3) {
                    vec![u32::try_from(random.below(90)).unwrap()]
                } else {
                    vec![]
                },
                shared: random.one_in(5).then(|| ("group".to_owned(), "a/#".to_owned())),
            };
            batch.enqueue(&NewDelivery {
                session: SessionId(session),
                seq: self.next_seq,
                publication: PublicationId(id),
                packet_id: 0,
                qos: delivery.qos,
                retain: delivery.retain,
                identifiers: &delivery.identifiers,
                shared: delivery.shared.as_ref(),
            });
            self.sessions.get_mut(&session).unwrap().queue.insert(self.next_seq, delivery);
        }
    }

    fn set_state(&mut self, random: &mut Random, session: u64, batch: &mut Batch) {
        let queue = &mut self.sessions.get_mut(&session).unwrap().queue;
        let Some(seq) = random.pick(&queue.keys().copied().collect::<Vec<_>>()) else { return };
        let delivery = queue.get_mut(&seq).unwrap();
        delivery.packet_id = u16::try_from(random.below(65_535) + 1).unwrap();
        let is_released = delivery.publication.is_none() || random.one_in(3);
        if is_released {
            delivery.publication = None;
        }
        batch.set_state(SessionId(session), seq, delivery.packet_id, is_released);
    }

    /// The model without its counters, which are not the journal's.
    pub fn in_force(&self) -> Self {
        Self { next_publication: 0, next_seq: 0, next_session: 0, ..self.clone() }
    }
}

/// What differs between what was found and what was wanted, in words.
pub fn differences(found: &Model, wanted: &Model) -> Vec<String> {
    let mut all = Vec::new();
    let ids: BTreeSet<_> = found.sessions.keys().chain(wanted.sessions.keys()).collect();
    for id in ids {
        let (Some(a), Some(b)) = (found.sessions.get(id), wanted.sessions.get(id)) else {
            all.push(format!("session {id}: {:?} for {:?}", found.sessions.get(id), wanted.sessions.get(id)));
            continue;
        };
        if (a.facts, a.will, &a.inbound) != (b.facts, b.will, &b.inbound) {
            all.push(format!(
                "session {id}: {:?} for {:?}",
                (a.facts, a.will, &a.inbound),
                (b.facts, b.will, &b.inbound)
            ));
        }
        for seq in a.queue.keys().chain(b.queue.keys()).collect::<BTreeSet<_>>() {
            if a.queue.get(seq) != b.queue.get(seq) {
                all.push(format!(
                    "session {id} seq {seq}: {:?} for {:?}",
                    a.queue.get(seq),
                    b.queue.get(seq)
                ));
            }
        }
    }
    if found.retained != wanted.retained {
        all.push(format!("retained: {:?} for {:?}", found.retained, wanted.retained));
    }
    if found.facts != wanted.facts {
        all.push(format!("facts: {:?} for {:?}", found.facts, wanted.facts));
    }
    all
}

/// What a journal says is in force; every record is read back and must be the one its number makes.
pub fn observe<D: Disk>(journal: &Journal<D>, sizes: Sizes) -> Model {
    let mut model = Model::default();
    let cache = &mut BlockCache::new();
    for id in journal.sessions() {
        let facts = journal.session(id, cache).unwrap();
        if let Some(facts) = &facts {
            assert_eq!(*facts, session(id.0, facts.expiry_s));
        }
        let stored = journal.will(id, cache).unwrap();
        let version = stored.as_ref().map(|will| u32::try_from(will.due_at_ms).unwrap());
        assert_eq!(stored, version.map(will));
        let deliveries = journal.deliveries(id, 0, usize::MAX).unwrap();
        assert_eq!(deliveries.len(), journal.queue_length(id));
        let queue = deliveries.into_iter().map(|delivery| {
            let entry = ModelDelivery {
                publication: delivery.publication.map(|id| id.0),
                packet_id: delivery.packet_id,
                qos: delivery.qos,
                retain: delivery.retain,
                identifiers: delivery.identifiers,
                shared: delivery.shared,
            };
            (delivery.seq, entry)
        });
        let entry = ModelSession {
            facts: facts.map(|facts| facts.expiry_s),
            will: version,
            queue: queue.collect(),
            inbound: journal.inbound(id).into_iter().collect(),
        };
        model.sessions.insert(id.0, entry);
    }
    model.retained = journal.retained().map(|(topic, id)| (topic.to_owned(), id.0)).collect();
    let names: Vec<String> = journal.fact_names().map(str::to_owned).collect();
    for name in names {
        let value = journal.fact(&name, cache).unwrap().unwrap();
        model.facts.insert(name, value);
    }
    let queued = model.sessions.values().flat_map(|s| s.queue.values()).filter_map(|d| d.publication);
    for id in queued.chain(model.retained.values().copied()).collect::<BTreeSet<_>>() {
        let record = journal.read(PublicationId(id), cache).unwrap();
        assert_eq!(record.as_ref(), Some(&publication(id, sizes)), "message {id}");
    }
    model
}
