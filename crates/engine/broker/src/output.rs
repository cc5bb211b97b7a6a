//! Bytes on their way to one connection: small packets copied one after another, large payloads shared. Those that promise
//! something, and all behind them, are held until it is kept.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use crate::seldom::Seldom;

/// Payloads of at least this many bytes are shared between recipients instead of copied: below it a copy costs less than
/// the bookkeeping of one more slice.
pub const SHARED_BYTES_MIN: usize = 8 * 1024;

#[derive(Debug)]
struct Shared {
    /// How many copied bytes go out before this one.
    after: usize,
    payload: Arc<[u8]>,
}

/// Bytes from some place on that may not leave before a commit.
#[derive(Debug, Clone, Copy)]
struct Hold {
    tag: u64,
    /// Bytes between the hold before, or the front, and this one.
    ahead: usize,
}

/// The output of a connection. Copied bytes lie in one buffer; shared payloads remember where between them they stand.
#[derive(Debug, Default)]
pub struct Output {
    copied: Vec<u8>,
    /// Bytes of `copied` already written.
    written: usize,
    shared: VecDeque<Shared>,
    /// Bytes of the front shared payload already written.
    shared_written: usize,
    shared_bytes: usize,
    holds: Seldom<Hold>,
    /// Bytes ahead of the last hold.
    held_from: usize,
}

impl Output {
    /// What is appended from now on waits until [`Self::release`] says that this commit is kept. False if it waits for it
    /// already. Tags go up.
    pub fn hold(&mut self, tag: u64) -> bool {
        if self.holds.back().is_some_and(|hold| hold.tag >= tag) {
            return false;
        }
        let at = self.len();
        self.holds.extend([Hold { tag, ahead: at - self.held_from }]);
        self.held_from = at;
        true
    }

    /// The commits up to this one are kept: what waited for them may leave.
    pub fn release(&mut self, tag: u64) {
        while self.holds.front().is_some_and(|hold| hold.tag <= tag) {
            let Some(released) = self.holds.pop_front() else { return };
            match self.holds.front_mut() {
                Some(next) => next.ahead += released.ahead,
                None => self.held_from = 0,
            }
        }
    }

    /// Forgets what waits for this commit or a later one: it promises what is not kept.
    pub fn forget_held(&mut self, tag: u64) {
        let mut keep = 0;
        let mut holds = Vec::new();
        while let Some(hold) = self.holds.pop_front() {
            keep += hold.ahead;
            if hold.tag >= tag {
                self.holds.clear();
                self.truncate(keep);
                break;
            }
            holds.push(hold);
        }
        self.held_from = holds.iter().map(|hold| hold.ahead).sum();
        self.holds.extend(holds);
    }

    /// Whether something may leave now.
    pub fn is_writable(&self) -> bool {
        self.writable() > 0
    }

    /// Bytes that may leave now.
    fn writable(&self) -> usize {
        self.holds.front().map_or_else(|| self.len(), |hold| hold.ahead)
    }

    /// Keeps the first bytes that wait; the place is between two packets.
    fn truncate(&mut self, keep: usize) {
        let (mut left, mut at, mut skip) = (keep, self.written, self.shared_written);
        let mut kept = 0;
        for shared in &self.shared {
            let before = shared.after.saturating_sub(at);
            if left <= before {
                break;
            }
            left -= before;
            at = at.max(shared.after);
            left = left.saturating_sub(shared.payload.len() - skip);
            skip = 0;
            kept += 1;
        }
        self.copied.truncate(at + left);
        self.shared.truncate(kept);
        self.shared_bytes = self.shared.iter().map(|shared| shared.payload.len()).sum();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.written == self.copied.len() && self.shared.is_empty()
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.copied.len() - self.written + self.shared_bytes - self.shared_written
    }

    /// The buffer for copied bytes: append only.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Appends a payload without copying it.
    pub fn share(&mut self, payload: Arc<[u8]>) {
        self.shared_bytes += payload.len();
        self.shared.push_back(Shared { after: self.copied.len(), payload });
    }

    /// What to write next, as slices in order; fills `slices` and gives how many were set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut at = self.written;
        let mut skip = self.shared_written;
        let mut left = self.writable();
        let mut put = |bytes: &'a [u8], slices: &mut [IoSlice<'a>]| {
            let bytes = bytes.get(..left).unwrap_or(bytes);
            left -= bytes.len();
            if bytes.is_empty() {
                return true;
            }
            match slices.get_mut(count) {
                Some(slot) => {
                    *slot = IoSlice::new(bytes);
                    count += 1;
                    true
                }
                None => false,
            }
        };
        for shared in &self.shared {
            if !put(self.copied.get(at..shared.after).unwrap_or_default(), slices) {
                return count;
            }
            at = at.max(shared.after);
            if !put(shared.payload.get(skip..).unwrap_or_default(), slices) {
                return count;
            }
            skip = 0;
        }
        put(self.copied.get(at..).unwrap_or_default(), slices);
        count
    }

    /// Takes `n` written bytes off the front. Buffers that are empty are kept for the next use.
    pub fn advance(&mut self, mut n: usize) {
        if let Some(hold) = self.holds.front_mut() {
            hold.ahead = hold.ahead.saturating_sub(n);
            self.held_from = self.held_from.saturating_sub(n);
        }
        while n > 0 {
            let Some(front) = self.shared.front() else {
                self.written = (self.written + n).min(self.copied.len());
                break;
            };
            let before = front.after.saturating_sub(self.written);
            if n <= before {
                self.written += n;
                break;
            }
            self.written += before;
            n -= before;
            let left = front.payload.len() - self.shared_written;
            if n < left {
                self.shared_written += n;
                break;
            }
            n -= left;
            self.shared_bytes -= front.payload.len();
            self.shared_written = 0;
            self.shared.pop_front();
        }
        if self.shared.is_empty() && self.written == self.copied.len() {
            self.copied.clear();
            self.written = 0;
        } else if self.written > 64 * 1024 && self.written * 2 > self.copied.len() {
            // Also while shared payloads wait: a reader that is never quite done must not keep what it has read.
            let written = std::mem::take(&mut self.written);
            self.copied.drain(..written);
            for shared in &mut self.shared {
                shared.after = shared.after.saturating_sub(written);
            }
        }
    }

    /// Bytes of memory it holds, used or not.
    pub fn capacity(&self) -> usize {
        self.copied.capacity() + self.shared_bytes
    }

    /// Forgets everything and keeps the buffer, for reuse by another connection.
    pub fn clear(&mut self) {
        self.copied.clear();
        self.written = 0;
        self.shared.clear();
        self.shared_written = 0;
        self.shared_bytes = 0;
        self.holds.clear();
        self.held_from = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]), IoSlice::new(&[])];
            let count = output.slices(&mut slices);
            let mut chunk: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            chunk.truncate(step);
            let len = output.len();
            output.advance(chunk.len());
            assert_eq!(output.len(), len - chunk.len());
            all.extend(chunk);
        }
        all
    }

    #[test]
    fn what_was_written_is_given_back_while_payloads_wait() {
        let mut output = Output::default();
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        for round in 0..400_u32 {
            let small = vec![u8::try_from(round % 251).unwrap(); 1_000];
            output.extend(&small);
            output.share(Arc::from(&b"LARGE"[..]));
            expected.extend_from_slice(&small);
            expected.extend_from_slice(b"LARGE");
            // One payload always waits.
            while output.len() > 900 {
                let mut slices = [IoSlice::new(&[]); 4];
                let count = output.slices(&mut slices);
                let mut chunk: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                chunk.truncate(700);
                output.advance(chunk.len());
                got.extend(chunk);
            }
            assert!(output.capacity() < 300_000, "{} bytes kept", output.capacity());
        }
        got.extend(written(&mut output, 512));
        assert!(got == expected);
    }

    #[test]
    fn what_is_held_and_all_behind_it_waits_for_its_commit() {
        for step in 1..8 {
            let mut output = Output::default();
            output.extend(b"ab");
            assert!(output.hold(3));
            assert!(!output.hold(3));
            output.extend(b"c");
            output.share(Arc::from(&b"DEF"[..]));
            assert!(output.hold(5));
            output.extend(b"gh");
            let write = |output: &mut Output| {
                let mut all = Vec::new();
                while output.is_writable() {
                    let mut slices = [IoSlice::new(&[]); 4];
                    let count = output.slices(&mut slices);
                    let mut chunk: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                    chunk.truncate(step);
                    output.advance(chunk.len());
                    all.extend(chunk);
                }
                all
            };
            assert_eq!(write(&mut output), b"ab");
            output.release(2);
            assert!(write(&mut output).is_empty());
            output.release(3);
            assert_eq!(write(&mut output), b"cDEF");
            output.extend(b"i");
            output.forget_held(5);
            output.extend(b"bye");
            assert_eq!(write(&mut output), b"bye");
            assert!(output.is_empty());
        }
    }

    #[test]
    fn what_is_forgotten_begins_at_its_hold_whatever_lies_before() {
        let mut output = Output::default();
        output.share(Arc::from(&b"AB"[..]));
        output.hold(1);
        output.extend(b"c");
        output.hold(2);
        output.share(Arc::from(&b"DE"[..]));
        output.extend(b"f");
        output.forget_held(2);
        assert_eq!(output.len(), 3);
        output.release(1);
        assert_eq!(written(&mut output, 2), b"ABc");
    }

    #[test]
    fn copied_and_shared_bytes_leave_in_the_order_they_came() {
        for step in 1..12 {
            let mut output = Output::default();
            output.extend(b"ab");
            output.share(Arc::from(&b"CDE"[..]));
            output.share(Arc::from(&b"F"[..]));
            output.extend(b"gh");
            output.share(Arc::from(&b"I"[..]));
            assert_eq!(written(&mut output, step), b"abCDEFghI", "step {step}");
            assert_eq!(output.len(), 0);
            output.extend(b"again");
            assert_eq!(written(&mut output, step), b"again");
        }
    }
}
