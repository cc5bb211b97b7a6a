//! An address that is connected to: `http://` or `https://`, a host, a port, a path; or `ldap://` or `ldaps://` without a path.
//! No user, no fragment.

/// Longest address, in bytes.
const BYTES_MAX: usize = 2_048;

/// An address of HTTP or LDAP that was checked.
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
        match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => Self::read(text, rest, true, 443),
            (None, Some(rest)) => Self::read(text, rest, false, 80),
            (None, None) => Err("it begins with neither https:// nor http://"),
        }
    }

    /// Reads an address of LDAP.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse_ldap(text: &str) -> Result<Self, &'static str> {
        let read = match (text.strip_prefix("ldaps://"), text.strip_prefix("ldap://")) {
            (Some(rest), _) => Self::read(text, rest, true, 636),
            (None, Some(rest)) => Self::read(text, rest, false, 389),
            (None, None) => Err("it begins with neither ldaps:// nor ldap://"),
        }?;
        let is_plain =
            !text.trim_end_matches('/').contains('?') && text.trim_end_matches('/').matches('/').count() == 2;
        if is_plain { Ok(read) } else { Err("it has something behind the host; that has keys of its own") }
    }

    fn read(text: &str, rest: &str, is_tls: bool, usual: u16) -> Result<Self, &'static str> {
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

    /// Whether it is `https` or `ldaps`.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether it is an origin: nothing but scheme, host and port.
    pub fn is_origin(&self) -> bool {
        self.text.strip_suffix('/').unwrap_or(&self.text).matches('/').count() == 2
    }

    /// Whether both are of one origin: the same scheme, host and port.
    pub fn is_of_origin(&self, other: &Self) -> bool {
        let (own, other) = ((self.is_tls, self.port, &self.host), (other.is_tls, other.port, &other.host));
        (own.0, own.1) == (other.0, other.1) && own.2.eq_ignore_ascii_case(other.2)
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
    fn an_origin_is_scheme_host_and_port() {
        let read = |text| Url::parse(text).unwrap();
        let own = read("https://login.example/realms/plant");
        for same in ["https://login.example", "https://LOGIN.example:443/keys?x=1"] {
            assert!(own.is_of_origin(&read(same)), "{same}");
        }
        for other in [
            "http://login.example",
            "http://login.example:443/",
            "https://login.example:8443/",
            "https://login.example.evil/",
            "https://evil/login.example",
        ] {
            assert!(!own.is_of_origin(&read(other)), "{other}");
        }
        assert!(read("https://a:1").is_origin() && read("https://a/").is_origin());
        assert!(!own.is_origin() && !read("https://a//").is_origin());
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
