//! Wills: when they are owed, when they must not come.

use super::World;
use crate::model::{Sent, bare, matches};

/// A Will that waits for its delay.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingWill {
    pub(super) client: usize,
    pub(super) number: u64,
    /// It may go out from here on, and it must at the first tick after the other.
    pub(super) due_ms: (u64, u64),
}

/// The topic of all Wills.
pub(super) const WILL_TOPIC: &str = "w/x";

impl World {
    /// Makes a Will for the next connection of a client, sometimes.
    pub(super) fn new_will(&mut self, index: usize) -> Option<(u64, u32, u8)> {
        if !self.random.chance(30) {
            return None;
        }
        let number = self.sent.len() as u64;
        let qos = u8::try_from(self.random.below(3)).unwrap_or(0);
        let delay_s = if self.random.chance(50) { 8 } else { 0 };
        let is_new = self.clients.get(index)?.version == motte_wire::ProtocolVersion::V5;
        let sent = Sent { is_will: true, is_resent: true, ..Sent::new(WILL_TOPIC, qos, index) };
        self.sent.push(sent);
        Some((number, if is_new { delay_s } else { 0 }, qos))
    }

    /// A Will goes out now.
    fn will_fires(&mut self, number: u64) {
        let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get(n)).cloned() else { return };
        self.outcome.wills += 1;
        self.owe(number, &sent);
    }

    fn will_is_taken_back(&mut self, number: u64) {
        if let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get_mut(n)) {
            sent.is_forbidden = true;
        }
    }

    /// A connection was lost, and its Will is due now or later. Call it before the Session's end.
    pub(super) fn will_of_lost(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some((number, delay_s)) = client.will.take() else { return };
        let delay_s = if client.outlives { delay_s.min(client.expiry_s.unwrap_or(u32::MAX)) } else { 0 };
        if delay_s == 0 {
            return self.will_fires(number);
        }
        let due = self.now.mono_ms + u64::from(delay_s) * 1_000;
        self.pending_wills.push(PendingWill { client: index, number, due_ms: (due, due) });
    }

    /// The client said goodbye.
    pub(super) fn will_of_disconnected(&mut self, index: usize) {
        let will = self.clients.get_mut(index).and_then(|client| client.will.take());
        if let Some((number, _)) = will {
            self.will_is_taken_back(number);
        }
    }

    /// A connection is taken over, or the client is back before the delay was over. Call it before the Session's end.
    pub(super) fn will_of_replaced(&mut self, index: usize, clean: bool) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if let Some((number, delay_s)) = client.will.take() {
            if delay_s > 0 && !clean && client.outlives {
                self.will_is_taken_back(number);
            } else {
                self.will_fires(number);
            }
        }
        let pending: Vec<_> = self.pending_wills.extract_if(.., |pending| pending.client == index).collect();
        for pending in pending {
            if self.now.mono_ms >= pending.due_ms.0 {
                // Due, and perhaps not sent: either is right.
            } else if clean {
                self.will_fires(pending.number);
            } else {
                self.will_is_taken_back(pending.number);
            }
        }
    }

    /// Somebody subscribes: a Will that may have gone out before is not owed to him.
    pub(super) fn will_may_be_missed(&mut self, filter: &str) {
        if matches(bare(filter), WILL_TOPIC) {
            let now = self.now.mono_ms;
            self.pending_wills.retain(|pending| {
                let (from_ms, until_ms) = pending.due_ms;
                from_ms == until_ms || now < from_ms
            });
        }
    }

    /// All shards know the time.
    pub(super) fn wills_are_due(&mut self) {
        let now = self.now.mono_ms;
        let due: Vec<_> = self.pending_wills.extract_if(.., |pending| pending.due_ms.1 <= now).collect();
        for pending in due {
            self.will_fires(pending.number);
            // Until it is kept since when its delay counts, the end of the broker makes it count anew: its client may be back in time.
            if let Some(client) = self.clients.get_mut(pending.client) {
                client.acknowledged.remove(&pending.number);
            }
        }
    }

    /// The broker ended: Wills of those who were connected go out after it starts again. What was taken back and not
    /// kept may go out, too.
    pub(super) fn wills_after_crash(&mut self, is_exact: bool) {
        for sent in &mut self.sent {
            sent.is_forbidden = false;
        }
        let now = self.now.mono_ms;
        // Of a connection that was lost before its CONNACK was read it is not known whether its Will was kept.
        let clients = &self.clients;
        self.pending_wills.retain(|pending| {
            clients.get(pending.client).is_some_and(|client| client.acknowledged.contains(&pending.number))
        });
        for pending in &mut self.pending_wills {
            pending.due_ms.1 = pending.due_ms.1.max(now + 8_000);
        }
        for (index, client) in self.clients.iter_mut().enumerate() {
            let Some((number, delay_s)) = client.will.take().filter(|_| client.accepted && !client.is_unkept)
            else {
                continue;
            };
            let delay_s = if client.outlives { delay_s } else { 0 };
            let due = now + u64::from(delay_s) * 1_000;
            self.pending_wills.push(PendingWill { client: index, number, due_ms: (now, due) });
        }
        if !is_exact {
            // By another clock one that was due may not be, so that its client is back in time.
            self.pending_wills.clear();
            let is_will = |number: &u64| {
                usize::try_from(*number).ok().and_then(|n| self.sent.get(n)).is_some_and(|sent| sent.is_will)
            };
            for client in &mut self.clients {
                client.acknowledged.retain(|number| !is_will(number));
            }
        }
    }
}
