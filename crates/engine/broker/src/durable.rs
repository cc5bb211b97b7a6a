//! What a shard has to have kept before it says so: the changes of a turn, gathered in a batch, and who waits for it.
//!
//! Everything that a batch makes true has its tag. A connection that is told about it has its output held from there on
//! ([`crate::Output::hold`]) until the batch is kept, so acknowledgements leave in the order in which they were made.
//!
//! What another shard has to keep is kept here first, in the queue of those on their way to that shard; that shard takes it
//! out in the batch in which it puts it into the queues of its Sessions. So a publication and all that it makes happen
//! are one thing, whatever is between, and the message is on disk once.
//!
//! Nothing is here for Sessions that end with their connection, and nothing is written for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_access::Principal;
use motte_event::{Event, keep};
use motte_session::Durability;
use motte_store::{
    Batch, Disk, Group, Journal, NewDelivery, PrincipalRecord, Publication as PublicationRecord,
    PublicationId, SessionId,
};

use crate::effect::Effects;
use crate::exchange::ShardMessage;
use crate::input::{CommitResult, ConnId, Now, ShardId};
use crate::principals;
use crate::publication::{Delivery, StoredPublication};
use crate::restoring::to_unix;
use crate::sessions::{Session, SessionKey};
use crate::shared::GroupKey;

/// Numbers of messages that a shard takes for itself at once.
const NUMBERS_TAKEN: u64 = 1024;
/// How long after a refusal the same is tried again, in milliseconds.
const RETRY_MS: u64 = 500;
/// How long after the committer was full it is tried again, in milliseconds.
const FULL_MS: u64 = 1;
/// Bytes of a batch from which a shard reads nothing more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Likewise while the disk refuses, when only what is taken away is gathered.
const REFUSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where numbers of what is kept go on: the same for all shards of a process.
#[derive(Debug)]
pub struct Numbers {
    sessions: AtomicU64,
    publications: AtomicU64,
    first_seq: u64,
}

impl Numbers {
    /// Behind those that are in a journal. A run gives less numbers to a commit than the factor between them, so that none
    /// is given twice, also of what is gone.
    pub fn after<D: Disk>(journal: &Journal<D>) -> Arc<Self> {
        let of_commits = (journal.appended().0 + 1) << 24;
        let used = journal.sessions().map(|id| id.0.max(journal.last_delivery(id).unwrap_or(0)));
        let first = used.max().map_or(of_commits, |used| of_commits.max(used + 1));
        Arc::new(Self {
            sessions: AtomicU64::new(first),
            publications: AtomicU64::new(journal.last_publication().map_or(0, |id| id.0 + 1)),
            first_seq: first,
        })
    }

    /// Those of an empty journal.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sessions: AtomicU64::new(1 << 24),
            publications: AtomicU64::new(0),
            first_seq: 1 << 24,
        })
    }

    /// A number that no Session ever had.
    pub fn session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// The first of a row of message numbers that nobody else gets.
    pub fn publications(&self, count: u64) -> u64 {
        self.publications.fetch_add(count, Ordering::Relaxed)
    }

    /// Where the queues of this run begin.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }
}

/// The kept queue in which a message waits while it is on its way, to be taken out where it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transit {
    /// Number of the queue: of a Session, or of those on their way between two shards.
    pub queue: SessionId,
    /// Place in it.
    pub seq: u64,
    /// The message, if its number is known.
    pub message: Option<PublicationId>,
}

impl Transit {
    /// Numbers up to this one are of queues between shards; those of Sessions are larger.
    pub const QUEUES: u64 = 64 * 64;

    /// The queue between two shards.
    fn queue(from: ShardId, to: ShardId) -> SessionId {
        SessionId(1 + u64::from(from.0 % 64) * 64 + u64::from(to.0 % 64))
    }

    /// Where a queue between shards leads.
    pub fn destination(queue: SessionId) -> ShardId {
        ShardId(u16::try_from(queue.0.saturating_sub(1) % 64).unwrap_or(0))
    }
}

/// What became of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Waits,
    Kept,
    Failed,
}

/// How much was gathered so far; see [`Durable::concerns_since`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

/// The changes of a turn, and the tags that wait.
#[derive(Debug)]
pub(crate) struct Durable {
    numbers: Option<Arc<Numbers>>,
    next_publication: u64,
    publications_end: u64,
    batch: Batch,
    /// What the disk refused, to be tried again before what was gathered since.
    debt: Batch,
    /// Who published last, as a record.
    source: Option<(Arc<Principal>, PrincipalRecord)>,
    is_synced: bool,
    /// Places given in the queues to other shards.
    transit_seq: u64,
    /// Tags before the current one, in order.
    pending: VecDeque<Pending>,
    /// The tag of the first that is pending, or of the current one.
    first: u64,
    /// Connections whose output is held, by tag.
    held: VecDeque<(u64, ConnId)>,
    /// Sessions whose facts are to be put again at the end of the turn.
    changed: Vec<SessionKey>,
    /// Messages to other shards that leave once the batch is handed over, so that what they make happen is never kept
    /// without what made it happen.
    outbox: Vec<(ShardId, ShardMessage)>,
    /// Nothing is submitted before this time, in monotonic milliseconds.
    not_before_ms: Option<u64>,
    is_refusing: bool,
}

impl Durable {
    /// Without numbers nothing is kept.
    pub(crate) fn new(numbers: Option<Arc<Numbers>>) -> Self {
        Self {
            numbers,
            next_publication: 0,
            publications_end: 0,
            batch: Batch::new(),
            debt: Batch::new(),
            source: None,
            is_synced: false,
            transit_seq: 0,
            pending: VecDeque::new(),
            first: 1,
            held: VecDeque::new(),
            changed: Vec::new(),
            outbox: Vec::new(),
            not_before_ms: None,
            is_refusing: false,
        }
    }

    /// A number for a Session that is to be kept, and where its queue begins; 0 if nothing is kept.
    pub(crate) fn session_number(&self, durability: Durability) -> (u64, u64) {
        match &self.numbers {
            Some(numbers) if durability > Durability::Memory => (numbers.session().0, numbers.first_seq()),
            _ => (0, 0),
        }
    }

    /// Where queues of this run begin.
    pub(crate) fn first_seq(&self) -> u64 {
        self.numbers.as_ref().map_or(0, |numbers| numbers.first_seq())
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.numbers.is_some()
    }

    /// Whether the disk takes nothing at the moment.
    pub(crate) fn is_refusing(&self) -> bool {
        self.is_refusing
    }

    /// Whether more is gathered than the disk takes.
    pub(crate) fn is_behind(&self) -> bool {
        let most = if self.is_refusing { REFUSED_BYTES_MAX } else { BATCH_BYTES_MAX };
        self.batch.bytes() + self.debt.bytes() > most
    }

    /// How much was gathered so far.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.batch.records())
    }

    /// Whether something was gathered since: then whoever is told about it must wait.
    pub(crate) fn concerns_since(&self, mark: Mark) -> bool {
        self.batch.records() != mark.0
    }

    fn tag(&self) -> u64 {
        self.first + self.pending.len() as u64
    }

    fn needs(&mut self, durability: Durability) {
        self.is_synced |= durability == Durability::Disk;
    }

    /// Holds what is written to a connection from now on until all that was gathered so far is kept.
    pub(crate) fn hold(&mut self, conn: ConnId, fx: &mut impl Effects) {
        let has_some = !self.batch.is_empty() || !self.debt.is_empty() || !self.changed.is_empty();
        let tag = if has_some { self.tag() } else { self.tag() - 1 };
        if tag < self.first {
            return;
        }
        if fx.output(conn).is_some_and(|output| output.hold(tag)) {
            self.held.push_back((tag, conn));
        }
    }

    /// A Session's facts changed.
    pub(crate) fn change(&mut self, session: &mut Session) {
        if session.number != 0 && !session.is_changed {
            session.is_changed = true;
            self.changed.push(session.key);
        }
    }

    pub(crate) fn take_changed(&mut self) -> Vec<SessionKey> {
        std::mem::take(&mut self.changed)
    }

    /// Puts something that belongs to a Session.
    pub(crate) fn put(&mut self, session: &Session, put: impl FnOnce(&mut Batch, Group, SessionId)) {
        self.needs(session.limits.durability);
        put(&mut self.batch, Group(session.group), SessionId(session.number));
    }

    /// Puts a message, unless it was put for the publication at hand already.
    pub(crate) fn put_message(
        &mut self,
        number: &mut Option<PublicationId>,
        group: Group,
        message: &StoredPublication,
        now: Now,
    ) -> PublicationId {
        if let Some(number) = *number {
            return number;
        }
        if self.next_publication == self.publications_end {
            let first = self.numbers.as_ref().map_or(0, |numbers| numbers.publications(NUMBERS_TAKEN));
            (self.next_publication, self.publications_end) = (first, first + NUMBERS_TAKEN);
        }
        let id = PublicationId(self.next_publication);
        self.next_publication += 1;
        if !self.source.as_ref().is_some_and(|(source, _)| Arc::ptr_eq(source, &message.source)) {
            self.source = Some((Arc::clone(&message.source), principals::to_record(&message.source)));
        }
        let Some((_, source)) = &self.source else { return id };
        let record = PublicationRecord {
            topic: message.topic.as_str(),
            payload: &message.payload,
            qos: message.qos as u8,
            retain: message.retain,
            forwarded: &message.forwarded,
            expires_at_ms: message.expires_ms.map(|at| to_unix(at, now)),
            source,
        };
        self.batch.put_publication(group, id, &record);
        *number = Some(id);
        id
    }

    /// Puts a delivery, with the Packet Identifier it goes out with, or 0.
    pub(crate) fn enqueue(
        &mut self,
        (session, durability): (SessionId, Durability),
        publication: PublicationId,
        delivery: &Delivery,
        packet_id: u16,
    ) {
        self.needs(durability);
        let identifiers: Vec<u32> = delivery.identifiers.iter().flatten().map(|id| id.get()).collect();
        let shared = delivery.shared.as_ref();
        let shared = shared.map(|key| (key.share.as_str().to_owned(), key.filter.as_str().to_owned()));
        self.batch.enqueue(&NewDelivery {
            session,
            seq: delivery.seq,
            publication,
            packet_id,
            qos: delivery.qos as u8,
            retain: delivery.retain,
            identifiers: &identifiers,
            shared: shared.as_ref(),
        });
    }

    /// Takes a delivery away that is over.
    pub(crate) fn remove_delivery(&mut self, number: u64, seq: u64) {
        if number != 0 && seq != 0 {
            self.batch.remove_delivery(SessionId(number), seq);
        }
    }

    /// Puts or takes away a Retained Message.
    pub(crate) fn retain(&mut self, topic: &str, publication: Option<PublicationId>, durability: Durability) {
        self.needs(durability);
        match publication {
            Some(id) => self.batch.put_retained(topic, id),
            None => self.batch.remove_retained(topic),
        }
    }

    /// Sends a message to another shard, after what is gathered is handed over.
    pub(crate) fn send(&mut self, to: ShardId, message: ShardMessage, fx: &mut impl Effects) {
        if self.is_on() {
            self.outbox.push((to, message));
        } else {
            fx.send(to, message);
        }
    }

    /// Puts a message into the queue of those on their way to another shard.
    pub(crate) fn send_off(
        &mut self,
        (from, to): (ShardId, ShardId),
        number: &mut Option<PublicationId>,
        message: &StoredPublication,
        shared: Option<&GroupKey>,
        now: Now,
    ) -> Transit {
        // Whoever it is for says how sure it has to be: that is not known here.
        self.needs(Durability::Disk);
        let id = self.put_message(number, Group::COMMON, message, now);
        self.transit_seq += 1;
        let (queue, seq) = (Transit::queue(from, to), self.first_seq() + self.transit_seq);
        let shared = shared.map(|key| (key.share.as_str().to_owned(), key.filter.as_str().to_owned()));
        self.batch.enqueue(&NewDelivery {
            session: queue,
            seq,
            publication: id,
            packet_id: 0,
            qos: message.qos as u8,
            retain: message.retain,
            identifiers: &[],
            shared: shared.as_ref(),
        });
        Transit { queue, seq, message: Some(id) }
    }

    /// A message has arrived, or nobody wants it.
    pub(crate) fn arrived(&mut self, transit: Option<Transit>) {
        if let Some(Transit { queue, seq, .. }) = transit {
            self.batch.remove_delivery(queue, seq);
        }
    }

    /// Hands over what was gathered. Call it at the end of a turn.
    pub(crate) fn submit(&mut self, now: Now, fx: &mut impl Effects) {
        let has_some = !self.batch.is_empty() || !self.debt.is_empty();
        let is_held = self.held.back().is_some_and(|(tag, _)| *tag == self.tag());
        if !has_some && !is_held {
            return self.post(fx);
        }
        if has_some {
            if self.not_before_ms.is_some_and(|at| now.mono_ms < at) {
                return;
            }
            self.not_before_ms = None;
            if !self.debt.is_empty() {
                self.debt.extend(&self.batch);
                self.batch = std::mem::take(&mut self.debt);
            }
            match fx.submit(self.tag(), std::mem::take(&mut self.batch), self.is_synced) {
                Ok(empty) => self.batch = empty,
                Err(batch) => {
                    self.batch = batch;
                    self.not_before_ms = Some(now.mono_ms + FULL_MS);
                    return;
                }
            }
            self.is_synced = false;
        }
        self.pending.push_back(if has_some { Pending::Waits } else { Pending::Kept });
        self.post(fx);
    }

    fn post(&mut self, fx: &mut impl Effects) {
        for (to, message) in self.outbox.drain(..) {
            fx.send(to, message);
        }
    }

    /// When it is to be tried again.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.not_before_ms
    }

    /// Whether nothing waits for the disk or another shard.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty()
            && self.batch.is_empty()
            && self.debt.is_empty()
            && self.changed.is_empty()
            && self.held.is_empty()
            && self.outbox.is_empty()
    }

    /// What became of a batch, and what is to be told about it.
    pub(crate) fn committed(&mut self, tag: u64, result: CommitResult, now: Now) -> Option<Event> {
        let mut turned = None;
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        let pending = self.pending.get_mut(index)?;
        *pending = Pending::Failed;
        match result {
            CommitResult::Durable => {
                *pending = Pending::Kept;
                if std::mem::take(&mut self.is_refusing) {
                    turned = Some(keep::store_recovered());
                }
            }
            CommitResult::Refused { batch, cause } => {
                // What it says has happened here all the same: it is kept as soon as there is room, in its place.
                self.debt.extend(&batch);
                self.is_synced = true;
                self.not_before_ms = Some(now.mono_ms + RETRY_MS);
                if !std::mem::replace(&mut self.is_refusing, true) {
                    turned = Some(keep::store_refuses(&cause));
                }
            }
            CommitResult::InDoubt { cause } => turned = Some(keep::store_in_doubt(&cause)),
        }
        turned
    }

    /// Settles what is known, in order. Gives connections that were promised what is not kept.
    pub(crate) fn settle(&mut self, fx: &mut impl Effects) -> Vec<(u64, ConnId)> {
        let mut failed = Vec::new();
        while let Some(front) = self.pending.front().copied().filter(|front| *front != Pending::Waits) {
            self.pending.pop_front();
            let tag = self.first;
            self.first += 1;
            while self.held.front().is_some_and(|(of, _)| *of <= tag) {
                let Some((_, conn)) = self.held.pop_front() else { break };
                match front {
                    Pending::Failed => failed.push((tag, conn)),
                    Pending::Kept | Pending::Waits => fx.release(conn, tag),
                }
            }
        }
        failed
    }
}
