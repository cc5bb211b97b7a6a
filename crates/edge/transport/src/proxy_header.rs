//! The PROXY header, version 1 and 2: who the peer of a proxy really is. Taken from named proxies only.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult};

/// Most bytes of a header: version 2 with extensions.
pub(crate) const HEADER_BYTES_MAX: usize = 4_096;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The header is not there whole.
    Partial,
    /// A header of this many bytes; the address is `None` where the proxy speaks for itself.
    Whole {
        /// Bytes to skip.
        len: usize,
        /// The client.
        source: Option<SocketAddr>,
    },
    /// No header.
    Wrong,
}

/// Reads a header from the bytes that have arrived. An IPv4 address in IPv6 form is given as IPv4, so that filters and
/// rules written for one form hold for the other.
pub fn parse_proxy_header(bytes: &[u8]) -> ProxyHeader {
    match parse_as_sent(bytes) {
        ProxyHeader::Whole { len, source } => {
            let canonical = |source: SocketAddr| SocketAddr::new(source.ip().to_canonical(), source.port());
            ProxyHeader::Whole { len, source: source.map(canonical) }
        }
        other => other,
    }
}

fn parse_as_sent(bytes: &[u8]) -> ProxyHeader {
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() && bytes.len() < HEADER_BYTES_MAX {
        return ProxyHeader::Partial;
    }
    match result {
        HeaderResult::V1(Ok(header)) => ProxyHeader::Whole {
            len: header.header.len(),
            source: match header.addresses {
                ppp::v1::Addresses::Tcp4(a) => Some((a.source_address, a.source_port).into()),
                ppp::v1::Addresses::Tcp6(a) => Some((a.source_address, a.source_port).into()),
                ppp::v1::Addresses::Unknown => None,
            },
        },
        HeaderResult::V2(Ok(header)) => ProxyHeader::Whole {
            len: header.len(),
            source: match (header.command, header.addresses) {
                (ppp::v2::Command::Local, _) => None,
                (_, ppp::v2::Addresses::IPv4(a)) => Some((a.source_address, a.source_port).into()),
                (_, ppp::v2::Addresses::IPv6(a)) => Some((a.source_address, a.source_port).into()),
                (_, ppp::v2::Addresses::Unix(_) | ppp::v2::Addresses::Unspecified) => None,
            },
        },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => ProxyHeader::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_versions_are_read_and_anything_else_is_wrong() {
        let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 8883\r\n\x10";
        let source = Some("192.0.2.7:1234".parse().unwrap());
        assert_eq!(parse_proxy_header(v1), ProxyHeader::Whole { len: v1.len() - 1, source });
        assert_eq!(parse_proxy_header(&v1[..20]), ProxyHeader::Partial);
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        v2.extend([192, 0, 2, 7, 192, 0, 2, 1, 0x04, 0xd2, 0x22, 0xb3]);
        assert_eq!(parse_proxy_header(&v2), ProxyHeader::Whole { len: 28, source });
        assert_eq!(parse_proxy_header(&v2[..18]), ProxyHeader::Partial);
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1234 8883\r\n";
        assert_eq!(parse_proxy_header(mapped), ProxyHeader::Whole { len: mapped.len(), source });
        assert_eq!(
            parse_proxy_header(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\x00\x00\x00\x00"),
            ProxyHeader::Wrong
        );
        assert_eq!(parse_proxy_header(b"GET / HTTP/1.1\r\n\r\n"), ProxyHeader::Wrong);
    }
}
