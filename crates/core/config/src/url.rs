//! An address that is connected to: `http://` or `https://`, a host, a port, a path. No user, no fragment.

/// Longest address, in bytes.
const BYTES_MAX: usize = 2_048;

/// An address of HTTP that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    text: String,
    host: String,
    port: u16,
    is_tls: bool,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("it begins with neither https:// nor http://"),
        };
        if text.len() > BYTES_MAX {
            return Err("it is longer than 2048 bytes");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte)) {
            return Err("it has a character that no address has; write others as %XX");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it holds a user or password; write a header in a file of its own");
        }
        if path.starts_with('?') {
            return Err("a query needs a path before it");
        }
        let usual = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("its IPv6 address does not end")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "its IPv6 address is none")?;
                (
                    format!("[{host}]"),
                    if port.is_empty() {
                        None
                    } else {
                        Some(port.strip_prefix(':').ok_or("its port is none")?)
                    },
                )
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (authority.to_owned(), None),
            },
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !(host.starts_with('[') || host.bytes().all(is_host)) {
            return Err("it has no host");
        }
        let port = match port {
            None => usual,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or("its port is none")?
            }
            Some(_) => return Err("its port is none"),
        };
        Ok(Self { text: text.to_owned(), host, port, is_tls })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a name, an address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is `https`.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether the host is this machine by its address.
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let read = |text| Url::parse(text).map(|url| (url.host().to_owned(), url.port(), url.is_tls()));
        assert_eq!(read("http://ca.example/list.crl"), Ok(("ca.example".to_owned(), 80, false)));
        assert_eq!(read("https://ca.example:8443/a?b=c%20d"), Ok(("ca.example".to_owned(), 8443, true)));
        assert_eq!(read("https://[::1]:9/"), Ok(("[::1]".to_owned(), 9, true)));
        assert_eq!(read("https://[::1]"), Ok(("[::1]".to_owned(), 443, true)));
        assert!(
            Url::parse("http://127.0.0.1/").unwrap().is_local()
                && !Url::parse("http://10.0.0.1/").unwrap().is_local()
        );
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "ftp://x/",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a\r\nX: y/",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:99999/",
            "http://h:+1/",
            "http://h:/",
            "http://[::1/",
            "http://[x]/",
            "http://[::1]9/",
            "http://h?x",
            "http://h/#f",
            "http://h,i/",
            "HTTP://h/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(Url::parse(&format!("http://h/{}", "a".repeat(2_048))).is_err());
    }
}
