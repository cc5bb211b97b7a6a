//! Answers of responders, made by openssl for the authority beside them: it knows certificate 0x1000, has revoked 0x1001 and does
//! not know 0x1002.

use super::Input;

/// The authority.
pub const AUTHORITY: &str = include_str!("answers/ca.pem");
/// When they were made, in unix seconds, and a little more.
pub const NOW_S: u64 = 1_795_275_000;

const GOOD: &[u8] = include_bytes!("answers/good.der");

/// Good ones, and what is near them.
pub(super) fn all() -> Vec<Input> {
    let mut flipped = GOOD.to_vec();
    if let Some(byte) = flipped.get_mut(120) {
        *byte ^= 1;
    }
    let cut = GOOD.get(..GOOD.len() / 2).unwrap_or_default().to_vec();
    vec![
        ("bare", include_bytes!("answers/bare.der").to_vec()),
        ("bare_delegate", include_bytes!("answers/bare_delegate.der").to_vec()),
        ("by_key", include_bytes!("answers/by_key.der").to_vec()),
        ("cut", cut),
        ("delegated", include_bytes!("answers/delegated.der").to_vec()),
        ("endless", include_bytes!("answers/endless.der").to_vec()),
        ("flipped", flipped),
        ("good", GOOD.to_vec()),
        ("longer", [GOOD, &[0]].concat()),
        ("nonce", include_bytes!("answers/nonce.der").to_vec()),
        ("page", b"<html>".to_vec()),
        ("revoked", include_bytes!("answers/revoked.der").to_vec()),
        ("try_later", vec![0x30, 3, 0x0a, 1, 3]),
        ("unknown", include_bytes!("answers/unknown.der").to_vec()),
        ("without_answer", vec![0x30, 3, 0x0a, 1, 0]),
    ]
}
