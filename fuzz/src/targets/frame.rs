//! Cutting a stream: frames lie side by side, none is larger than allowed, and an answer does not change with more bytes.

use motte_wire::{FrameError, frame};

/// The first two bytes are the limit, the rest is the stream.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let Some((limit, mut rest)) = data.split_first_chunk::<2>() else { return };
    let limit = u32::from(u16::from_be_bytes(*limit));
    loop {
        match frame(rest, limit) {
            Ok(Some(one)) => {
                assert!(
                    one.len <= rest.len() && one.len <= limit as usize,
                    "a frame beyond its stream or limit"
                );
                let (whole, behind) = rest.split_at(one.len);
                assert!(
                    whole.ends_with(one.body) && whole.first() == Some(&one.first),
                    "a frame of other bytes"
                );
                assert!((2..=5).contains(&(one.len - one.body.len())), "a fixed header of a strange size");
                let again = frame(whole, limit).ok().flatten().map(|again| again.len);
                assert_eq!(again, Some(one.len), "a frame that depends on what follows it");
                let cut = whole.get(..one.len - 1).unwrap_or_default();
                assert!(matches!(frame(cut, limit), Ok(None)), "a frame before its last byte");
                rest = behind;
            }
            Ok(None) => return,
            Err(error) => {
                if let FrameError::TooLarge { bytes, limit: said } = error {
                    assert!(bytes > u64::from(limit) && said == limit, "a limit that was kept");
                }
                let head = rest.get(..5).unwrap_or(rest);
                assert_eq!(
                    frame(head, limit).err(),
                    Some(error),
                    "an error that needs more than the fixed header"
                );
                return;
            }
        }
    }
}
