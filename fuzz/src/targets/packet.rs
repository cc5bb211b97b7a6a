//! Packets: what is taken can be written, is then taken again as the same, and is not larger than it was.

use std::num::NonZeroU32;

use motte_wire::{
    ControlPacket, DecodeRules, Frame, MalformedPacket, PINGREQ, PINGRESP, ProtocolVersion, PublishHead,
    Subscribe, SubscribeEntry, TextRules, Unsubscribe, decode, frame,
};

/// Runs one packet, as from a client, from a server, and past a listener that is strict with text. Its Remaining Length is
/// not looked at: the body is whatever follows it.
pub fn run(version: ProtocolVersion, data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let length_bytes = rest.iter().take(4).position(|byte| byte & 0x80 == 0).map_or(rest.len().min(4), |at| at + 1);
    let body = rest.get(length_bytes..).unwrap_or_default();
    let one = Frame { first: *first, body, len: data.len() };
    let strict = TextRules { control_characters: false, non_characters: false };
    let client = check(version, one, &DecodeRules::from_client());
    check(version, one, &DecodeRules::from_server());
    let strict = check(version, one, &DecodeRules { text: strict, ..DecodeRules::from_client() });
    assert!(client || !strict, "strict rules take what the standard's refuse");
}

fn check(version: ProtocolVersion, one: Frame<'_>, rules: &DecodeRules) -> bool {
    let packet = match decode(one, version, rules) {
        Ok(packet) => packet,
        Err(error) => {
            check_error(&error, one.first);
            return false;
        }
    };
    let mut written = Vec::new();
    write(&packet, version, &mut written);
    let cut = match frame(&written, u32::MAX) {
        Ok(Some(cut)) => cut,
        other => return assert!(other.is_err(), "an encoder wrote half a packet").is_taken(),
    };
    assert_eq!(cut.len, written.len(), "an encoder wrote bytes behind its packet");
    assert!(cut.body.len() <= one.body.len() + 1, "a packet grew when it was written again");
    let again = match decode(cut, version, rules) {
        Ok(again) => again,
        Err(error) => return assert!(error.field.is_empty(), "what was written is refused: {error}").is_taken(),
    };
    compare(&packet, &again, version);
    let mut rewritten = Vec::new();
    write(&again, version, &mut rewritten);
    assert_eq!(written, rewritten, "a packet that changes each time it is written");
    true
}
