//! What stands at the head of each payload, so that the receiver knows which message it is and when it was due.

/// Bytes of a stamp, and so the least size of a payload.
pub(crate) const STAMP_BYTES: usize = 16;

/// Bits of the place within a stream; the rest is the stream.
const PLACE_BITS: u32 = 44;

/// Streams that a stamp can tell apart.
pub(crate) const STREAMS_MAX: u64 = 1 << (u64::BITS - PLACE_BITS);

/// Which message, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// One publisher's messages on one topic, below [`STREAMS_MAX`].
    pub(crate) stream: u64,
    /// Place in the stream, from 0.
    pub(crate) place: u64,
    /// When it was due, in nanoseconds since the start of the run.
    pub(crate) due_ns: u64,
}

impl Stamp {
    /// Its bytes.
    pub(crate) fn encode(self) -> [u8; STAMP_BYTES] {
        let which = self.stream << PLACE_BITS | self.place & ((1 << PLACE_BITS) - 1);
        (u128::from(which) << 64 | u128::from(self.due_ns)).to_be_bytes()
    }

    /// From the head of a payload; `None`: too short to be one of ours.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let whole = u128::from_be_bytes(*payload.first_chunk::<STAMP_BYTES>()?);
        let which = u64::try_from(whole >> 64).ok()?;
        let due_ns = u64::try_from(whole & u128::from(u64::MAX)).ok()?;
        Some(Self { stream: which >> PLACE_BITS, place: which & ((1 << PLACE_BITS) - 1), due_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_way() {
        let stamp = Stamp { stream: STREAMS_MAX - 1, place: 1 << 43, due_ns: u64::MAX - 1 };
        let mut payload = stamp.encode().to_vec();
        payload.extend_from_slice(b"filler");
        assert_eq!(Stamp::decode(&payload), Some(stamp));
        assert_eq!(Stamp::decode(b"short"), None);
    }
}
