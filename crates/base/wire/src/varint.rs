//! Writing lengths, strings and whole packets.

/// Bytes that a variable byte integer takes.
pub(crate) fn len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Writes a variable byte integer of at most 268,435,455.
pub(crate) fn write(mut value: u32, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Writes a length of two bytes and that many bytes; what is longer than 65,535 bytes is cut, which no caller gives.
pub(crate) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

/// Writes a packet: first byte, Remaining Length, body.
pub(crate) fn write_packet(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    write(u32::try_from(body.len()).unwrap_or(u32::MAX), out);
    out.extend_from_slice(body);
}
