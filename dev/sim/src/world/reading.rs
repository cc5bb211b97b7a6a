//! What clients read, and what the model says to it.

use motte_wire::ReasonCode;

use super::World;
use crate::client::Seen;
use crate::model::Arrival;
use crate::parts::{SMALL_QUEUE, WINDOW};

impl World {
    /// What may be written to a client at the moment.
    pub(super) fn take_output(&mut self, index: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some((shard, conn)) = self.clients.get(index).and_then(|client| client.conn) else {
            return bytes;
        };
        let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) else { return bytes };
        let Some(output) = asked.outputs.get_mut(&conn) else { return bytes };
        while output.is_writable() {
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let count = output.slices(&mut slices);
            let before = bytes.len();
            slices.iter().take(count).for_each(|slice| bytes.extend_from_slice(slice));
            let n = bytes.len() - before;
            output.advance(n);
        }
        bytes
    }

    /// Everything that was written to this client was read.
    fn note_drained(&mut self, index: usize) {
        let Some((shard, conn)) = self.clients.get(index).and_then(|client| client.conn) else { return };
        let asked = self.shards.get(usize::from(shard.0)).map(|(_, asked)| asked);
        let is_empty =
            asked.and_then(|asked| asked.outputs.get(&conn)).is_none_or(motte_broker::Output::is_empty);
        if let Some(client) = self.clients.get_mut(index).filter(|_| is_empty) {
            client.may_read_secrets = false;
            // What is between shards or waits for the disk is on its way since before.
            let is_settled = self.inboxes.iter().all(std::collections::VecDeque::is_empty)
                && self.shards.iter().all(|(broker, _)| broker.is_settled());
            if is_settled {
                client.drained_ms = self.now.mono_ms;
            }
        }
    }

    /// A client reads everything that was written to it, and answers.
    pub(super) fn read(&mut self, index: usize) -> Result<(), String> {
        for _ in 0..1_000 {
            let Some((shard, conn)) = self.clients.get(index).and_then(|client| client.conn) else {
                return Ok(());
            };
            if self.clients.get(index).is_some_and(|client| client.is_half_open) {
                return Ok(());
            }
            let bytes = self.take_output(index);
            let closed = self.is_closed((shard, conn));
            if bytes.is_empty() && !closed {
                self.note_drained(index);
                return Ok(());
            }
            let mut answer = Vec::new();
            let seen = match self.clients.get_mut(index) {
                Some(client) => client.read(&bytes, false, &mut answer)?,
                None => return Ok(()),
            };
            for one in seen {
                self.saw(index, one)?;
            }
            self.note_drained(index);
            let sends_again =
                self.clients.get_mut(index).is_some_and(|client| std::mem::take(&mut client.sends_again));
            if closed {
                let is_refused = self.clients.get(index).is_some_and(|client| client.is_refused);
                if !self.is_faulty && !is_refused {
                    return Err(format!("c{index} was sent away"));
                }
                self.forget_output(index);
                self.closed(index);
                return Ok(());
            }
            self.send(index, &answer)?;
            if sends_again {
                self.republish(index)?;
            }
            self.handle(shard, motte_broker::Input::Drained { conn })?;
        }
        Err("a client and the broker talk without end".into())
    }

    pub(super) fn saw(&mut self, index: usize, seen: Seen) -> Result<(), String> {
        self.tell(|_| format!("c{index} < {seen:?}"));
        match seen {
            Seen::Accepted { present } => self.accepted(index, present),
            Seen::Refused(reason) if self.is_faulty && reason == ReasonCode::QUOTA_EXCEEDED => {
                self.was_refused(index)
            }
            // 3.1.1 has no better word for it.
            Seen::Refused(reason) if self.is_faulty && reason == ReasonCode::SERVER_UNAVAILABLE => {
                self.was_refused(index)
            }
            // Whoever has no Session is not let in when there is no memory.
            Seen::Refused(ReasonCode::SERVER_BUSY | ReasonCode::SERVER_UNAVAILABLE)
                if self.setup.has_little_memory =>
            {
                self.was_refused(index)
            }
            Seen::Refused(reason) => Err(format!("c{index} was refused: {}", reason.name())),
            Seen::Message { topic, number, qos, dup, is_retained } if index == self.setup.clients => {
                if is_retained && self.found.insert(topic.clone(), number).is_some() {
                    return Err(format!("{topic} has two Retained Messages, {number} ({qos}, {dup})"));
                }
                Ok(())
            }
            Seen::Message { topic, number, qos, dup, .. } => self.arrived(index, &topic, (number, qos, dup)),
            Seen::Subscribed(codes) => self.subscribed(index, &codes),
            Seen::Unsubscribed => self.unsubscribed(index),
            Seen::Denied { number, reason } => self.denied(number, reason),
            Seen::Goodbye(reason) if self.is_faulty && reason == ReasonCode::QUOTA_EXCEEDED => Ok(()),
            Seen::Goodbye(reason) if self.is_faulty => {
                Err(format!("c{index} was sent away because of {}", reason.name()))
            }
            Seen::Goodbye(reason) => Err(format!("c{index} was sent away: {}", reason.name())),
        }
    }

    fn was_refused(&mut self, index: usize) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if client.expects == Some(true) {
            return Err(format!("c{index} has a Session and was refused"));
        }
        client.outlives = false;
        client.is_connecting = false;
        client.is_refused = true;
        // The end of an earlier Session may not be kept.
        client.is_unkept = true;
        Ok(())
    }

    fn accepted(&mut self, index: usize, present: bool) -> Result<(), String> {
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        if client.expects.is_some_and(|expected| expected != present) {
            let said = if present { "there is" } else { "there is no" };
            return Err(format!("c{index} was told that {said} Session, which is not so"));
        }
        if let Some(client) = self.clients.get_mut(index) {
            client.is_unkept = self.is_faulty;
            // The Will is kept with the connection that it came with.
            let is_faulty = self.is_faulty;
            client.acknowledged.extend(client.will.map(|(number, _)| number).filter(|_| !is_faulty));
        }
        if !present {
            self.outcome.expired += usize::from(self.has_books(index));
            self.end_session(index);
        }
        Ok(())
    }

    fn has_books(&self, index: usize) -> bool {
        self.ledgers.get(index).is_some_and(|ledger| !ledger.ever.is_empty())
    }

    fn arrived(
        &mut self,
        index: usize,
        topic: &str,
        (number, qos, dup): (u64, u8, bool),
    ) -> Result<(), String> {
        let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get(n)) else {
            return Err(format!("message {number} was never sent"));
        };
        let (Some(ledger), Some(client)) = (self.ledgers.get_mut(index), self.clients.get_mut(index)) else {
            return Ok(());
        };
        if sent.topic != topic {
            return Err(format!("message {number} arrived on {topic} instead of {}", sent.topic));
        }
        if self.closed && topic.starts_with("secret/") && !client.may_read_secrets {
            return Err(format!("c{index}: message {number} on {topic} was written without a decision"));
        }
        // What waits on disk has dates by the clock on the wall, and a jump moves them.
        let is_exact = self.is_clock_exact && !self.has_jumped;
        if let Some((at, _)) = sent.expires.filter(|_| !dup && is_exact)
            && at < client.drained_ms
        {
            return Err(format!("c{index}: message {number} came after it had expired"));
        }
        // What is on its way from another shard waits for nobody yet.
        if self.setup.has_small_queues
            && self.setup.shards == 1
            && qos > 0
            && !sent.is_resent
            && (client.absence.0..client.absence.1).contains(&number)
        {
            client.absence.2 += 1;
            if client.absence.2 > SMALL_QUEUE as usize + usize::from(WINDOW) {
                return Err(format!("{} messages waited for c{index}", client.absence.2));
            }
        }
        self.outcome.arrived += 1;
        let arrival = Arrival { number, qos, dup, life: self.outcome.crashes };
        ledger.arrived(arrival, sent).map_err(|what| format!("c{index}: {what}"))?;
        let groups = ledger.groups(topic);
        self.groups.arrived(number, index, &groups, sent)
    }
}
