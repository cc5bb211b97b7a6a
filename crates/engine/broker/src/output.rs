//! Bytes on their way to one connection: small packets copied one after another, large payloads shared.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Payloads of at least this many bytes are shared between recipients instead of copied: below it a copy costs less than
/// the bookkeeping of one more slice.
pub const SHARED_BYTES_MIN: usize = 8 * 1024;

#[derive(Debug)]
struct Shared {
    /// How many copied bytes go out before this one.
    after: usize,
    payload: Arc<[u8]>,
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
}

impl Output {
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
        let mut put = |bytes: &'a [u8], slices: &mut [IoSlice<'a>]| {
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
