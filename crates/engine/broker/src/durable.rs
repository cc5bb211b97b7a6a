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

use motte_access::Principal;
use motte_event::{Event, keep};
use motte_session::Durability;
use motte_store::{
    Batch, Group, NewDelivery, PrincipalRecord, Publication as PublicationRecord, PublicationId,
    RetainedPlace, SessionId,
};

use crate::effect::Effects;
use crate::exchange::ShardMessage;
use crate::input::{CommitResult, ConnId, Now, ShardId};
use crate::numbers::Numbers;
use crate::principals;
use crate::publication::{Delivery, StoredPublication};
use crate::restoring::to_unix;
use crate::sessions::{Session, SessionKey};
use crate::shared::GroupKey;
use crate::transit::Transit;

/// Numbers of messages that a shard takes for itself at once.
const NUMBERS_TAKEN: u64 = 1024;
/// Tag of what was refused and is tried again: nobody waits for it by a tag of its own.
const TAG_OF_DEBT: u64 = 0;
/// How long after a refusal the same is tried again, in milliseconds.
const RETRY_MS: u64 = 500;
/// How long after the committer was full it is tried again, in milliseconds.
const FULL_MS: u64 = 1;
/// Bytes of a batch from which a shard reads nothing more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Likewise while the disk refuses, when only what is taken away is gathered.
const REFUSED_BYTES_MAX: usize = 64 * 1024 * 1024;

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
    /// What the disk refused, to be tried again before what was gathered since: batch by batch as it was, for other shards may
    /// refer to one of them and be referred to by the next.
    debt: VecDeque<Batch>,
    /// One of the debt is on its way again.
    is_repaying: bool,
    /// The first change of a Retained Message in that one.
    repaid: Option<RetainedPlace>,
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
    /// The first change of a Retained Message in each batch that has one, by tag.
    retained: VecDeque<(u64, RetainedPlace)>,
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
            debt: VecDeque::new(),
            is_repaying: false,
            repaid: None,
            source: None,
            is_synced: false,
            transit_seq: 0,
            pending: VecDeque::new(),
            first: 1,
            held: VecDeque::new(),
            retained: VecDeque::new(),
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
        self.batch.bytes() + self.debt.iter().map(Batch::bytes).sum::<usize>() > most
    }

    /// How much was gathered so far.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.batch.records())
    }

    /// Whether something was gathered since: then whoever is told about it must wait.
    pub(crate) fn concerns_since(&self, mark: Mark) -> bool {
        self.batch.records() != mark.0
    }

    /// The tag of what is gathered now.
    pub(crate) fn tag(&self) -> u64 {
        self.first + self.pending.len() as u64
    }

    fn needs(&mut self, durability: Durability) {
        self.is_synced |= durability == Durability::Disk;
    }

    /// Holds what is written to a connection from now on until all that was gathered so far is kept.
    pub(crate) fn hold(&mut self, conn: ConnId, fx: &mut impl Effects) {
        let has_some = !self.batch.is_empty() || self.is_indebted() || !self.changed.is_empty();
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
    pub(crate) fn retain(
        &mut self,
        topic: &str,
        publication: Option<PublicationId>,
        (place, durability): (RetainedPlace, Durability),
    ) {
        self.needs(durability);
        self.batch.change_retained(topic, publication, place);
    }

    /// The first change of a Retained Message that is not known to be kept or lost.
    pub(crate) fn first_retained(&self) -> Option<RetainedPlace> {
        let pending = self.retained.iter().map(|(_, place)| *place).chain(self.repaid);
        let refused = self.debt.iter().filter_map(Batch::first_retained);
        pending.chain(refused).chain(self.batch.first_retained()).min()
    }

    /// Nothing is on its way any more before this change of a Retained Message.
    pub(crate) fn settle_retained(&mut self, place: RetainedPlace) {
        self.batch.settle_retained(place);
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
        if self.is_indebted() {
            self.post_unkept(fx);
            return self.repay(now, fx);
        }
        let has_some = !self.batch.is_empty();
        let is_held = self.held.back().is_some_and(|(tag, _)| *tag == self.tag());
        if !has_some && !is_held {
            return self.post(fx);
        }
        if has_some {
            if self.not_before_ms.is_some_and(|at| now.mono_ms < at) {
                return;
            }
            self.not_before_ms = None;
            let tag = self.tag();
            let first = self.batch.first_retained();
            match fx.submit(tag, std::mem::take(&mut self.batch), self.is_synced) {
                Ok(empty) => {
                    self.batch = empty;
                    self.retained.extend(first.map(|place| (tag, place)));
                }
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
        if !has_some {
            // No commit need follow that would let it go.
            let failed = self.settle(fx);
            debug_assert!(failed.is_empty(), "what failed was settled when it was heard");
        }
    }

    fn is_indebted(&self) -> bool {
        !self.debt.is_empty() || self.is_repaying
    }

    /// Hands over the first of what was refused, once it is time.
    fn repay(&mut self, now: Now, fx: &mut impl Effects) {
        if self.is_repaying || self.not_before_ms.is_some_and(|at| now.mono_ms < at) {
            return;
        }
        self.not_before_ms = None;
        let Some(batch) = self.debt.pop_front() else { return };
        let first = batch.first_retained();
        match fx.submit(TAG_OF_DEBT, batch, true) {
            Ok(_) => (self.is_repaying, self.repaid) = (true, first),
            Err(batch) => {
                self.debt.push_front(batch);
                self.not_before_ms = Some(now.mono_ms + FULL_MS);
            }
        }
    }

    /// Sends what nobody keeps, in order: it does not wait for a disk that refuses.
    fn post_unkept(&mut self, fx: &mut impl Effects) {
        for (to, message) in std::mem::take(&mut self.outbox) {
            if message.is_kept() {
                self.outbox.push((to, message));
            } else {
                fx.send(to, message);
            }
        }
    }

    fn post(&mut self, fx: &mut impl Effects) {
        for (to, message) in self.outbox.drain(..) {
            fx.send(to, message);
        }
    }

    /// Whether everything up to this tag is settled, or nothing was gathered for it.
    pub(crate) fn is_past(&self, tag: u64) -> bool {
        !self.is_indebted() && (self.first > tag || self.first == tag && self.is_settled())
    }

    /// When it is to be tried again.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.not_before_ms
    }

    /// Whether nothing waits for the disk or another shard.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty()
            && self.batch.is_empty()
            && !self.is_indebted()
            && self.changed.is_empty()
            && self.held.is_empty()
            && self.outbox.is_empty()
    }

    /// What became of a batch, and what is to be told about it.
    pub(crate) fn committed(&mut self, tag: u64, result: CommitResult, now: Now) -> Option<Event> {
        let mut turned = None;
        let was_debt = tag == TAG_OF_DEBT;
        if was_debt {
            (self.is_repaying, self.repaid) = (false, None);
        } else {
            let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
            let is_kept = matches!(result, CommitResult::Durable);
            *self.pending.get_mut(index)? = if is_kept { Pending::Kept } else { Pending::Failed };
        }
        match result {
            CommitResult::Durable => {
                if !self.is_indebted() && std::mem::take(&mut self.is_refusing) {
                    turned = Some(keep::store_recovered());
                }
            }
            CommitResult::Refused { batch, cause } => {
                // What it says has happened here all the same: it is kept as soon as there is room, in its place.
                if was_debt {
                    self.debt.push_front(batch);
                } else {
                    self.debt.push_back(batch);
                }
                self.not_before_ms = Some(now.mono_ms + RETRY_MS);
                if !std::mem::replace(&mut self.is_refusing, true) {
                    turned = Some(keep::store_refuses(&cause));
                }
            }
            CommitResult::InDoubt { cause } => {
                // It is in memory all the same, and whoever asks again is answered from there: not before a commit of nothing
                // says that all before it is on disk.
                self.debt.push_front(Batch::new());
                turned = Some(keep::store_in_doubt(&cause));
            }
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
            if self.retained.front().is_some_and(|(of, _)| *of == tag) {
                self.retained.pop_front();
            }
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
