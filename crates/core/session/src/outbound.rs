//! Publications to the client: the window of those sent and not yet acknowledged, and the queue behind it.
//!
//! Packet Identifiers are handed out in a circle, so the one of a slot follows from its place in the ring and an
//! acknowledgement finds its slot without a search. A slot acknowledged out of order stays as `Done` until all older
//! ones are done.

use std::collections::VecDeque;

use motte_wire::{PacketId, QoS};

/// What the window needs to know of the thing it carries.
pub trait Letter {
    /// QoS of this delivery: 1 or 2.
    fn qos(&self) -> QoS;
    /// Bytes it counts for in the queue.
    fn bytes(&self) -> usize;
    /// Whether its Message Expiry Interval has passed at `now_ms` (unix milliseconds).
    fn expired(&self, now_ms: u64) -> bool;
    /// What it is known by where it is kept; outlives it in the window until PUBCOMP.
    fn mark(&self) -> u64;
}

/// Bounds of the queue behind the window.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Letters that may wait.
    pub messages_max: usize,
    /// Bytes that may wait.
    pub bytes_max: usize,
}

/// What became of a letter that was to be sent.
#[derive(Debug)]
pub enum Admission<L> {
    /// The window is open: send it now with this identifier (the letter is in the ring).
    Send(PacketId),
    /// It waits in the queue.
    Queued,
    /// The queue is full: the letter comes back.
    Full(L),
}

/// What an acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub enum Completion<L> {
    /// The flow is over; the window opened by one.
    Done(L),
    /// PUBREC was taken: send PUBREL.
    Release {
        /// [`Letter::mark`] of the letter.
        mark: u64,
        /// It was not released before.
        is_new: bool,
    },
    /// PUBCOMP was taken: the flow of the letter with this [`Letter::mark`] is over.
    Complete(u64),
    /// No flow has this identifier.
    Unknown,
    /// A flow has this identifier, and this packet does not belong to its state.
    OutOfStep,
}

/// One thing to send again when a Session resumes, oldest first (MQTT-4.4.0-1).
#[derive(Debug)]
pub enum Retransmission<'a, L> {
    /// PUBLISH with DUP.
    Publish(PacketId, &'a L),
    /// PUBREL.
    Release(PacketId),
}

#[derive(Debug)]
enum Slot<L> {
    Sent(L),
    /// With the letter's mark.
    Released(u64),
    Done,
}

/// Most slots in the ring: one for each Packet Identifier.
const RING_MAX: usize = 65_535;

/// The sending half of QoS 1 and 2.
#[derive(Debug)]
pub struct Outbound<L> {
    ring: VecDeque<Slot<L>>,
    /// Identifier of the slot at the front of the ring, less one.
    front: u16,
    open: u16,
    window: u16,
    /// Slots at the front of the ring that were sent on this connection; those behind wait to be sent again.
    sent: u16,
    /// Open flows among those: what counts against the client's Receive Maximum.
    outstanding: u16,
    queue: VecDeque<L>,
    /// Bytes of all letters, on their way and waiting.
    held_bytes: usize,
}

impl<L: Letter> Outbound<L> {
    /// An empty window of `window` open flows, with nothing waiting behind it.
    pub fn new(window: u16) -> Self {
        Self {
            ring: VecDeque::new(),
            front: 0,
            open: 0,
            window,
            sent: 0,
            outstanding: 0,
            queue: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Sets the window for a new connection (the client's Receive Maximum, lowered by our own bound).
    pub fn set_window(&mut self, window: u16) {
        self.window = window.max(1);
    }

    /// Sends `letter` if nothing waits before it and `may_send`, else queues it.
    pub fn offer(&mut self, letter: L, may_send: bool, limits: QueueLimits) -> Admission<L> {
        if may_send && self.queue.is_empty() && self.has_room() {
            self.held_bytes += letter.bytes();
            return Admission::Send(self.push(letter));
        }
        self.enqueue(letter, limits)
    }

    /// Queues `letter` behind the rest; what already waits stays, whatever the bounds are now.
    pub fn enqueue(&mut self, letter: L, limits: QueueLimits) -> Admission<L> {
        let bytes = letter.bytes();
        if self.queue.len() >= limits.messages_max || self.held_bytes.saturating_add(bytes) > limits.bytes_max
        {
            return Admission::Full(letter);
        }
        self.held_bytes += bytes;
        self.queue.push_back(letter);
        Admission::Queued
    }

    /// The next queued letter moves into the window. `None`: the window is closed or nothing waits.
    ///
    /// Expired letters are taken out on the way and given to `expired` (MQTT-3.3.2-5).
    pub fn next(&mut self, now_ms: u64, expired: &mut Vec<L>) -> Option<(PacketId, &L)> {
        if !self.has_room() {
            return None;
        }
        let letter = loop {
            let letter = self.pop_queued()?;
            if letter.expired(now_ms) {
                self.freed(&letter);
                expired.push(letter);
            } else {
                break letter;
            }
        };
        let id = self.push(letter);
        match self.ring.back() {
            Some(Slot::Sent(letter)) => Some((id, letter)),
            _ => None,
        }
    }

    /// The newest letter in the window.
    pub fn newest(&self) -> Option<&L> {
        match self.ring.back() {
            Some(Slot::Sent(letter)) => Some(letter),
            _ => None,
        }
    }

    /// Takes PUBACK for `id`.
    pub fn puback(&mut self, id: PacketId) -> Completion<L> {
        self.finish(id, QoS::AtLeastOnce)
    }

    /// Takes PUBREC for `id`; `accepted` is false when it carries a failure, which ends the flow (MQTT-4.3.3-4).
    pub fn pubrec(&mut self, id: PacketId, accepted: bool) -> Completion<L> {
        if !accepted {
            return self.finish(id, QoS::ExactlyOnce);
        }
        let Some(slot) = self.slot(id) else { return Completion::Unknown };
        match slot {
            Slot::Sent(letter) if letter.qos() == QoS::ExactlyOnce => {
                let (bytes, mark) = (letter.bytes(), letter.mark());
                *slot = Slot::Released(mark);
                self.held_bytes = self.held_bytes.saturating_sub(bytes);
                Completion::Release { mark, is_new: true }
            }
            // A PUBREC sent again after a reconnect: PUBREL goes out again.
            Slot::Released(mark) => Completion::Release { mark: *mark, is_new: false },
            Slot::Sent(_) => Completion::OutOfStep,
            Slot::Done => Completion::Unknown,
        }
    }

    /// Takes PUBCOMP for `id`.
    pub fn pubcomp(&mut self, id: PacketId) -> Completion<L> {
        let Some(slot) = self.slot(id) else { return Completion::Unknown };
        match slot {
            Slot::Released(mark) => {
                let mark = *mark;
                *slot = Slot::Done;
                self.closed(id);
                Completion::Complete(mark)
            }
            Slot::Sent(_) => Completion::OutOfStep,
            Slot::Done => Completion::Unknown,
        }
    }

    /// Ends the flow of `id` without the client's word: the packet could not be sent (MQTT-3.1.2-25).
    pub fn abandon(&mut self, id: PacketId) -> Option<L> {
        let slot = self.slot(id)?;
        let taken = std::mem::replace(slot, Slot::Done);
        if matches!(taken, Slot::Done) {
            return None;
        }
        self.closed(id);
        match taken {
            Slot::Sent(letter) => {
                self.freed(&letter);
                Some(letter)
            }
            Slot::Released(_) | Slot::Done => None,
        }
    }

    /// A new connection: nothing was sent on it yet, and everything open is to be sent again.
    pub fn begin_again(&mut self) {
        self.sent = 0;
        self.outstanding = 0;
    }

    /// Whether something waits to be sent again; nothing new goes out before it (MQTT-4.4.0-1, MQTT-4.6.0-1).
    pub fn has_again(&self) -> bool {
        usize::from(self.sent) < self.ring.len()
    }

    /// The next flow to send again, oldest first. `None`: there is none, or the window is closed (MQTT-4.9.0-2); PUBREL is
    /// sent even then, because it opens no flow.
    pub fn next_again(&mut self) -> Option<Retransmission<'_, L>> {
        loop {
            let index = usize::from(self.sent);
            match self.ring.get(index)? {
                Slot::Done => self.sent += 1,
                Slot::Released(_) => {
                    self.sent += 1;
                    self.outstanding = self.outstanding.saturating_add(1);
                    return self.id_at(index).map(Retransmission::Release);
                }
                Slot::Sent(_) if self.outstanding >= self.window => return None,
                Slot::Sent(_) => {
                    self.sent += 1;
                    self.outstanding = self.outstanding.saturating_add(1);
                    let id = self.id_at(index)?;
                    return match self.ring.get(index) {
                        Some(Slot::Sent(letter)) => Some(Retransmission::Publish(id, letter)),
                        _ => None,
                    };
                }
            }
        }
    }

    /// Every letter, on its way or waiting.
    pub fn letters_mut(&mut self) -> impl Iterator<Item = &mut L> {
        let sent = self.ring.iter_mut().filter_map(|slot| match slot {
            Slot::Sent(letter) => Some(letter),
            Slot::Released(_) | Slot::Done => None,
        });
        sent.chain(&mut self.queue)
    }

    /// Takes out the waiting letters that have expired.
    pub fn take_expired(&mut self, now_ms: u64) -> Vec<L> {
        if !self.queue.iter().any(|letter| letter.expired(now_ms)) {
            return Vec::new();
        }
        self.take_queued(|letter| letter.expired(now_ms))
    }

    /// The letter that waits at the end of the queue.
    pub fn last_queued(&self) -> Option<&L> {
        self.queue.back()
    }

    /// Takes the letter at the end of the queue out.
    pub fn take_last_queued(&mut self) -> Option<L> {
        let letter = self.queue.pop_back()?;
        self.freed(&letter);
        Some(letter)
    }

    /// What to send again on a resumed Session, oldest first.
    pub fn retransmissions(&self) -> impl Iterator<Item = Retransmission<'_, L>> {
        self.ring.iter().enumerate().filter_map(|(index, slot)| {
            let id = self.id_at(index)?;
            match slot {
                Slot::Sent(letter) => Some(Retransmission::Publish(id, letter)),
                Slot::Released(_) => Some(Retransmission::Release(id)),
                Slot::Done => None,
            }
        })
    }

    /// Letters in the queue, oldest first.
    pub fn queued(&self) -> impl Iterator<Item = &L> {
        self.queue.iter()
    }

    /// Letters waiting in the queue.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Flows open in the window.
    pub fn in_flight(&self) -> usize {
        usize::from(self.open)
    }

    /// Bytes of all letters, on their way and waiting.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether nothing is on its way and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.open == 0 && self.queue.is_empty()
    }

    /// Takes out every queued letter that `leaves` says so of, keeping the order of the rest.
    pub fn take_queued(&mut self, mut leaves: impl FnMut(&L) -> bool) -> Vec<L> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for letter in self.queue.drain(..) {
            if leaves(&letter) {
                self.held_bytes = self.held_bytes.saturating_sub(letter.bytes());
                taken.push(letter);
            } else {
                kept.push_back(letter);
            }
        }
        self.queue = kept;
        taken
    }

    /// Everything unfinished, oldest first, leaving nothing: for a Session that ends. The flag says whether the letter
    /// was sent already.
    pub fn take_all(&mut self) -> Vec<(L, bool)> {
        let sent = self.ring.drain(..).filter_map(|slot| match slot {
            Slot::Sent(letter) => Some((letter, true)),
            Slot::Released(_) | Slot::Done => None,
        });
        let all = sent.chain(self.queue.drain(..).map(|letter| (letter, false))).collect();
        self.open = 0;
        self.sent = 0;
        self.outstanding = 0;
        self.held_bytes = 0;
        all
    }

    /// Puts a flow back after a restart: identifiers must come in the order in which they were handed out.
    /// Where PUBREL was sent, the letter is only its mark. `false`: the identifier does not follow, the flow is left out.
    pub fn restore_flow(&mut self, id: PacketId, letter: Result<L, u64>) -> bool {
        if self.ring.is_empty() {
            self.front = id.value() - 1;
        }
        let Some(index) = self.index_of(id) else { return false };
        if index < self.ring.len() || index >= RING_MAX {
            return false;
        }
        while self.ring.len() < index {
            self.ring.push_back(Slot::Done);
        }
        self.held_bytes += letter.as_ref().map_or(0, Letter::bytes);
        self.ring.push_back(match letter {
            Ok(letter) => Slot::Sent(letter),
            Err(mark) => Slot::Released(mark),
        });
        self.open = self.open.saturating_add(1);
        true
    }

    /// Whether one more flow may be opened.
    pub fn has_room(&self) -> bool {
        self.outstanding < self.window && self.ring.len() < RING_MAX && !self.has_again()
    }

    fn pop_queued(&mut self) -> Option<L> {
        let letter = self.queue.pop_front()?;
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            self.queue.shrink_to_fit();
        }
        Some(letter)
    }

    fn push(&mut self, letter: L) -> PacketId {
        let value = Self::wrap(usize::from(self.front) + self.ring.len());
        self.ring.push_back(Slot::Sent(letter));
        self.open += 1;
        self.sent += 1;
        self.outstanding += 1;
        PacketId::from_index(value)
    }

    fn finish(&mut self, id: PacketId, qos: QoS) -> Completion<L> {
        let Some(slot) = self.slot(id) else { return Completion::Unknown };
        match slot {
            Slot::Sent(letter) if letter.qos() == qos => {
                let taken = std::mem::replace(slot, Slot::Done);
                self.closed(id);
                match taken {
                    Slot::Sent(letter) => {
                        self.freed(&letter);
                        Completion::Done(letter)
                    }
                    Slot::Released(_) | Slot::Done => Completion::Unknown,
                }
            }
            Slot::Sent(_) | Slot::Released(_) => Completion::OutOfStep,
            Slot::Done => Completion::Unknown,
        }
    }

    fn freed(&mut self, letter: &L) {
        self.held_bytes = self.held_bytes.saturating_sub(letter.bytes());
    }

    /// A flow is over: its slot is `Done`.
    fn closed(&mut self, id: PacketId) {
        self.open = self.open.saturating_sub(1);
        if self.index_of(id).is_some_and(|index| index < usize::from(self.sent)) {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        while matches!(self.ring.front(), Some(Slot::Done)) {
            self.ring.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.front = Self::wrap(usize::from(self.front) + 1);
        }
        if self.ring.is_empty() && self.ring.capacity() > 256 {
            self.ring.shrink_to(16);
        }
    }

    /// Place in the circle of identifiers, counted from 0 for identifier 1.
    fn wrap(place: usize) -> u16 {
        u16::try_from(place % RING_MAX).unwrap_or(0)
    }

    fn id_at(&self, index: usize) -> Option<PacketId> {
        PacketId::new(Self::wrap(usize::from(self.front) + index).checked_add(1)?)
    }

    fn index_of(&self, id: PacketId) -> Option<usize> {
        let place = usize::from(id.value()).checked_sub(1)?;
        Some((place + RING_MAX - usize::from(self.front)) % RING_MAX)
    }

    fn slot(&mut self, id: PacketId) -> Option<&mut Slot<L>> {
        let index = self.index_of(id)?;
        self.ring.get_mut(index)
    }
}
