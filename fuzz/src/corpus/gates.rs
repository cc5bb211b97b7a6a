//! What stands at the gate: PROXY headers, WebSocket requests with frames, files of credentials.

use super::Input;

fn cut(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.truncate(length);
    bytes
}

/// Both messages of a client.
pub(super) fn scrams() -> Vec<Input> {
    let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let input = |name, text: String| (name, text.into_bytes());
    vec![
        input("plain", format!("n,,n=user,r=0123456789abcdef\nc=biws,r=0123456789abcdef,p={proof}")),
        input("as_himself", format!("n,a=us=2Cer,n=us=2Cer,r=01234567,x=y\nc=biws,r=01234567,x=y,p={proof}")),
        input(
            "bound",
            format!("p=tls-exporter,,n=user,r=01234567\nc=cD10bHMtZXhwb3J0ZXIsLA==,r=01234567,p={proof}"),
        ),
        input("downgraded", "y,,n=user,r=01234567\nc=eSws,r=01234567,p=".to_owned()),
        input("must_be_understood", "n,,m=x,n=user,r=01234567\nc=biws,r=01234567,m=x,p=AA==".to_owned()),
        input("empty", String::new()),
        input("no_name", "n,,n=,r=01234567\nc=biws,r=01234567,p=AA==".to_owned()),
        input("bad_escape", "n,,n=us=2Der,r=01234567\nc=biws,r=01234567,p=AA==".to_owned()),
        input("another_nonce", format!("n,,n=user,r=01234567\nc=biws,r=76543210,p={proof}")),
        input("long_name", format!("n,,n={},r=01234567\nc=biws,r=01234567,p={proof}", "u".repeat(1_000))),
        input("no_end", "n,,n=user,r=01234567".to_owned()),
    ]
}

/// Beginnings of connections behind a proxy.
pub(super) fn proxy_headers() -> Vec<Input> {
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap_or(0).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
    };
    let four = [192, 0, 2, 7, 192, 0, 2, 1, 0x04, 0xd2, 0x22, 0xb3];
    let six = [[0x20, 1].as_slice(), &[0; 30], &[0x04, 0xd2, 0x22, 0xb3]].concat();
    vec![
        ("empty", Vec::new()),
        ("mqtt", b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00".to_vec()),
        ("v1_cut", b"PROXY TCP4 192.0.2.7 192".to_vec()),
        ("v1_four", b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 8883\r\n\x10".to_vec()),
        ("v1_mapped", b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1234 8883\r\n".to_vec()),
        ("v1_port_too_large", b"PROXY TCP4 192.0.2.7 192.0.2.1 123456 8883\r\n".to_vec()),
        ("v1_unknown", b"PROXY UNKNOWN\r\n".to_vec()),
        ("v2_cut", cut(v2(0x21, 0x11, &four), 20)),
        ("v2_four", v2(0x21, 0x11, &four)),
        ("v2_local", v2(0x20, 0x00, &[])),
        ("v2_six", v2(0x21, 0x21, &six)),
        ("v2_unix", v2(0x21, 0x31, &[0; 216])),
        ("v2_with_more", v2(0x21, 0x11, &[&four[..], &[0x04, 0, 2, 1, 2]].concat())),
    ]
}

/// A request, and frames behind it.
pub(super) fn websockets() -> Vec<Input> {
    let request = |more: &str, protocol: &str| {
        format!(
            "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n{more}\r\n"
        )
        .into_bytes()
    };
    let frame = |first: u8, payload: &[u8]| {
        let length = 0x80 | u8::try_from(payload.len()).unwrap_or(0);
        [&[first, length, 0, 0, 0, 0][..], payload].concat()
    };
    let with = |frames: &[Vec<u8>]| [request("", "mqtt"), frames.concat()].concat();
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    vec![
        ("binary", with(&[frame(0x82, connect)])),
        ("close", with(&[frame(0x88, &[3, 232])])),
        ("continued", with(&[frame(0x02, &connect[..4]), frame(0x80, &connect[4..])])),
        ("cut", cut(request("", "mqtt"), 60)),
        ("empty_frames", with(&[frame(0x82, b""), frame(0x82, b""), frame(0x82, connect)])),
        ("long_length", [request("", "mqtt"), vec![0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0]].concat()),
        ("no_http", connect.to_vec()),
        ("old_protocol", request("", "mqttv3.1")),
        ("other_protocol", request("", "chat")),
        ("page", request("Origin: https://a.example\r\n", "mqtt")),
        ("ping", with(&[frame(0x89, b"x"), frame(0x82, connect), frame(0x8a, b"")])),
        ("strange_page", request("Origin: https://b.example\r\n", "mqtt")),
        ("text", with(&[frame(0x81, b"hello")])),
        ("unmasked", [request("", "mqtt"), vec![0x82, 1, 0x10]].concat()),
    ]
}

/// Password files, and PEM that is nearly good.
pub(super) fn credentials() -> Vec<Input> {
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let zeros = "A".repeat(43);
    let hash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2E$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let second = format!("motte-credentials 2\n# note\nidentity a\n  password {hash} origin=person");
    [
        (
            "account_with_everything",
            format!(
                "motte-credentials 2\nkey {zeros}\nidentity a\n  created 1\n  password $keyed${zeros} origin=generated created=2 mark=00000001.0000000000000002\n  password {hash} origin=imported until=9\n  former $6$YQ==${}==\n  exposed 00000000000000ff\n  disabled\n  expires 9\n  totp GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ since=3\n  recovery $keyed${zeros}\nidentity b c\n  exposed 0000000000000001\nidentity s\n  password $scram-sha-256$4096$c2FsdHNhbHQ=${zeros}=${zeros}= origin=person\n",
                "A".repeat(86)
            ),
        ),
        ("account_without_password", "motte-credentials 2\nidentity a\n".to_owned()),
        ("account_of_version_2", format!("{second} created=7\n  disabled\n")),
        ("account_of_version_3", second.replace("ials 2", "ials 3")),
        ("certificate_of_nothing", block("CERTIFICATE", "")),
        ("certificate_of_zeros", block("CERTIFICATE", "AAAA")),
        ("comment_only", "# nobody\n\n".to_owned()),
        ("crl_of_zeros", block("X509 CRL", "MAAA")),
        ("der_sequence", "0\u{3}\u{2}\u{1}\u{1}".to_owned()),
        ("encrypted_key", block("ENCRYPTED PRIVATE KEY", "MAAwAA==")),
        ("key_of_zeros", block("PRIVATE KEY", "MAA=")),
        ("no_end", "-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned()),
        ("one_password", format!("device:{hash}\n")),
        ("password_of_nobody", format!(":{hash}\n")),
        ("password_with_too_much", format!("device:{}\n", hash.replace("m=64", "m=4294967295"))),
        ("two_passwords", format!("a:{hash}\n# and\nb:{hash}\n")),
        ("two_times_the_same", format!("a:{hash}\na:{hash}\n")),
    ]
    .map(|(name, text)| (name, text.into_bytes()))
    .to_vec()
}
