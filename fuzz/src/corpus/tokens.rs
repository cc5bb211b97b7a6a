//! Tokens, key sets, also as they are kept, descriptions of issuers and answers of services, each behind the byte that says which it is.

use motte_identity::KeptKeys;

use super::Input;
use crate::targets::tokens::{ISSUER, NOW_S, own_set, signed};

/// All of them.
pub(super) fn all() -> Vec<Input> {
    let of = |kind: u8, text: &str| [&[kind], text.as_bytes()].concat();
    let header = "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"at+jwt\"}";
    let claims = |more: &str| {
        let (from, to) = (NOW_S - 10, NOW_S + 600);
        format!(
            "{{\"iss\":\"{ISSUER}\",\"aud\":[\"motte\"],\"sub\":\"dev-1\",\"iat\":{from},\"exp\":{to}{more}}}"
        )
    };
    let both = |more: &str| of(1, &format!("{header}\n{}", claims(more)));
    let rsa = format!(
        "{{\"kty\":\"RSA\",\"kid\":\"r\",\"alg\":\"PS256\",\"n\":\"{}\",\"e\":\"AQAB\"}}",
        "w".repeat(342)
    );
    let ec = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\",\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}";
    let document =
        |issuer: &str, keys: &str| of(3, &format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{keys}\"}}"));
    let kept = |issuer: &str, fetched_s| KeptKeys {
        issuer: issuer.to_owned(),
        from: "keys https://issuer.example/keys".to_owned(),
        fetched_s,
        set: own_set(),
    };
    let sets = [kept(ISSUER, NOW_S - 10), kept("other", NOW_S + 10), kept("later", u64::MAX)];
    vec![
        ("answer_allow", of(4, "\0{\"result\":\"allow\",\"identity\":\"a\",\"valid_s\":5,\"ends_in_s\":60}")),
        ("answer_deny", of(4, "\0{\"result\":\"deny\",\"reason\":\"no\"}")),
        ("answer_ends_at_once", of(4, "\0{\"result\":\"allow\",\"ends_in_s\":0}")),
        ("answer_ends_never", of(4, "\0{\"result\":\"allow\",\"ends_in_s\":18446744073709551615}")),
        ("answer_of_401", [&[4, 101], &b"<html>"[..]].concat()),
        ("claims_groups", both(",\"groups\":[\"ops\",\"*\"]")),
        ("claims_narrow", both(",\"topics\":{\"publish\":[\"a/+\"],\"subscribe\":[\"b/#\",\"$SYS/x\"]}")),
        ("claims_roles", both(",\"jti\":\"t\",\"realm\":{\"roles\":[\"reader\",\"admin\"]},\"nbf\":1.5")),
        ("claims_several_ends", both(",\"exp\":1")),
        (
            "claims_with_extension",
            of(1, &format!("{{\"alg\":\"EdDSA\",\"kid\":\"k\",\"crit\":[\"b64\"]}}\n{}", claims(""))),
        ),
        ("description", document(ISSUER, "https://keys.example:99/k?v=1")),
        ("description_elsewhere", document(ISSUER, "https://issuer.example@evil.example/")),
        ("description_of_another", document("https://evil.example", "https://issuer.example/")),
        ("keys_ec", of(2, &format!("{{\"keys\":[{ec}]}}"))),
        ("keys_kept", [&[5], &KeptKeys::encode(&sets)[..]].concat()),
        (
            "keys_mixed",
            of(2, &format!("{{\"keys\":[{ec},{{\"kty\":\"AKP\"}},{{\"kty\":\"RSA\",\"use\":\"enc\"}}]}}")),
        ),
        ("keys_own", of(2, &own_set())),
        ("keys_rsa", of(2, &format!("{{\"keys\":[{rsa}]}}"))),
        ("keys_secret", of(2, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}")),
        ("token", of(0, &signed(header, &claims("")))),
        ("token_in_parts", of(0, "eyJ..")),
        ("token_of_no_algorithm", of(0, &signed("{\"alg\":\"none\",\"kid\":\"k\"}", &claims("")))),
    ]
}
