//! PROXY headers: what is taken lies within the bytes, and more bytes do not change it.

use motte_transport::{ProxyHeader, parse_proxy_header};

/// Runs the bytes as the beginning of a connection.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    match parse_proxy_header(data) {
        ProxyHeader::Whole { len, source } => {
            let Some(header) = data.get(..len) else { super::fail("a header longer than its bytes") };
            let same = ProxyHeader::Whole { len, source };
            assert!(parse_proxy_header(header) == same, "a header that depends on what follows it");
            if let Some(source) = source {
                assert!(source.ip() == source.ip().to_canonical(), "an IPv4 address in IPv6 form");
            }
        }
        ProxyHeader::Partial => assert!(data.len() < 4_096, "a header that never ends"),
        ProxyHeader::Wrong => {
            let more = [data, b"\r\n"].concat();
            assert!(
                parse_proxy_header(&more) == ProxyHeader::Wrong,
                "wrong bytes made right by more of them"
            );
        }
    }
}
