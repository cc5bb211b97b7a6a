//! The PROXY header, version 1 and 2: who the peer of a proxy really is. Taken from named proxies only.

use std::net::SocketAddr;

use ppp::HeaderResult;

/// Most bytes of a header: version 2 with extensions.
pub(crate) const HEADER_BYTES_MAX: usize = 4_096;

/// What version 1 begins with.
const V1_START: &[u8] = b"PROXY ";
/// Most bytes of version 1, its end of line included.
const V1_BYTES_MAX: usize = 107;
/// What version 2 begins with.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses; the last two say how many follow.
const V2_BYTES_MIN: usize = 16;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Finds where the header ends before it is read: a reader of whole headers takes one that ends within a field for wrong.
fn parse_as_sent(bytes: &[u8]) -> ProxyHeader {
    let begins = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    let end = if begins(V1_START) {
        let line = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
        match line.windows(2).position(|pair| pair == b"\r\n") {
            Some(at) => at + 2,
            None if bytes.len() < V1_BYTES_MAX => return ProxyHeader::Partial,
            None => return ProxyHeader::Wrong,
        }
    } else if begins(V2_START) {
        let Some(length) = bytes.get(14..16).and_then(|length| length.try_into().ok()) else {
            return ProxyHeader::Partial;
        };
        V2_BYTES_MIN + usize::from(u16::from_be_bytes(length))
    } else {
        return ProxyHeader::Wrong;
    };
    if end > HEADER_BYTES_MAX {
        return ProxyHeader::Wrong;
    }
    bytes.get(..end).map_or(ProxyHeader::Partial, parse_whole)
}

fn parse_whole(bytes: &[u8]) -> ProxyHeader {
    match HeaderResult::parse(bytes) {
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

    #[test]
    fn a_header_cut_anywhere_is_not_whole_yet() {
        let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 8883\r\n";
        let unknown = b"PROXY UNKNOWN\r\n";
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        v2.extend([192, 0, 2, 7, 192, 0, 2, 1, 0x04, 0xd2, 0x22, 0xb3]);
        for header in [&v1[..], unknown, &v2] {
            for end in 0..header.len() {
                assert_eq!(parse_proxy_header(&header[..end]), ProxyHeader::Partial, "{end} bytes");
            }
            assert!(
                matches!(parse_proxy_header(header), ProxyHeader::Whole { len, .. } if len == header.len())
            );
        }
    }

    #[test]
    fn a_header_that_can_only_be_too_long_is_not_waited_for() {
        assert_eq!(parse_proxy_header(&[&b"PROXY "[..], &[b'x'; 101]].concat()), ProxyHeader::Wrong);
        assert_eq!(parse_proxy_header(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"), ProxyHeader::Wrong);
    }
}
