//! Cutting a stream of bytes into packets.

use crate::error::FrameError;

/// A whole packet.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The first byte: packet type and flags.
    pub first: u8,
    /// Variable header and payload.
    pub body: &'a [u8],
    /// Bytes of the whole packet on the wire.
    pub len: usize,
}

/// The first packet in `buffer`, if it is there whole. `packet_bytes_max` bounds the whole packet.
///
/// # Errors
/// As soon as the fixed header shows that the packet is malformed or too large, before its body is there.
pub fn frame(buffer: &[u8], packet_bytes_max: u32) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((first, rest)) = buffer.split_first() else { return Ok(None) };
    let mut remaining: u32 = 0;
    for index in 0..4 {
        let Some(byte) = rest.get(index) else { return Ok(None) };
        remaining |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 != 0 {
            continue;
        }
        if index > 0 && *byte == 0 {
            return Err(FrameError::MalformedLength);
        }
        let head = 2 + index;
        let len = head + remaining as usize;
        if len > packet_bytes_max as usize {
            return Err(FrameError::TooLarge { bytes: len as u64, limit: packet_bytes_max });
        }
        return Ok(buffer.get(head..len).map(|body| Frame { first: *first, body, len }));
    }
    Err(FrameError::MalformedLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_only_when_it_is_whole() {
        let bytes = [0x30, 3, 0, 1, b'a', 0xc0, 0];
        for cut in 0..5 {
            assert!(frame(&bytes[..cut], 100).unwrap().is_none());
        }
        let got = frame(&bytes, 100).unwrap().unwrap();
        assert_eq!((got.first, got.body, got.len), (0x30, &[0, 1, b'a'][..], 5));
    }

    #[test]
    fn mqtt_1_5_5_1_a_fifth_length_byte_is_malformed() {
        assert_eq!(
            frame(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01], 100).unwrap_err(),
            FrameError::MalformedLength
        );
    }

    #[test]
    fn a_packet_over_the_limit_is_known_from_its_first_bytes() {
        assert_eq!(
            frame(&[0x30, 0xff, 0xff, 0xff, 0x7f], 4096).unwrap_err(),
            FrameError::TooLarge { bytes: 268_435_460, limit: 4096 }
        );
    }
}
