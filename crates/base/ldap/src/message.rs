//! Messages: the few requests that a login takes, and their answers (RFC 4511, 4.2 to 4.14).

use asn1_rs::{Class, Tag};
use zeroize::Zeroizing;

use crate::NAME_BYTES_MAX;
use crate::ber::{Malformed, Reader, message, put, put_number, put_octets};

/// Of the request that asks for TLS (RFC 4511, 4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Asks for no attributes (RFC 4511, 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

/// A simple bind. The caller has refused empty names and passwords: a server takes those for somebody anonymous.
pub fn bind(id: u32, name: &str, password: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for all, so that no copy of the password is left behind where memory grows.
    let mut content = Zeroizing::new(Vec::with_capacity(name.len() + password.len() + 32));
    put_number(&mut content, Tag::Integer, 3);
    put_octets(&mut content, name.as_bytes());
    put(&mut content, Class::ContextSpecific, false, 0, password);
    let mut op = Zeroizing::new(Vec::with_capacity(content.len() + 16));
    put(&mut op, Class::Application, true, 0, &content);
    message(id, &op)
}

/// The end of a conversation.
pub fn unbind(id: u32) -> Zeroizing<Vec<u8>> {
    message(id, &[0x42, 0])
}

/// The wish to speak TLS from now on.
pub fn start_tls(id: u32) -> Zeroizing<Vec<u8>> {
    let (mut content, mut op) = (Vec::new(), Vec::new());
    put(&mut content, Class::ContextSpecific, false, 0, START_TLS);
    put(&mut op, Class::Application, true, 23, &content);
    message(id, &op)
}

/// A search. Aliases are not followed.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// Below which entry.
    pub base: &'a str,
    /// The whole subtree, or the base alone.
    pub is_subtree: bool,
    /// Entries that the directory may answer with.
    pub entries_max: u32,
    /// For how many seconds it may search.
    pub time_s: u32,
    /// Which entries, as a filter in bytes.
    pub filter: &'a [u8],
    /// Which attributes of them; none: only their names.
    pub attributes: &'a [&'a str],
}

/// A search as a message.
pub fn search(id: u32, search: &Search<'_>) -> Zeroizing<Vec<u8>> {
    let mut content = Vec::new();
    put_octets(&mut content, search.base.as_bytes());
    put_number(&mut content, Tag::Enumerated, if search.is_subtree { 2 } else { 0 });
    put_number(&mut content, Tag::Enumerated, 0);
    put_number(&mut content, Tag::Integer, search.entries_max);
    put_number(&mut content, Tag::Integer, search.time_s);
    put(&mut content, Class::Universal, false, Tag::Boolean.0, &[0]);
    content.extend_from_slice(search.filter);
    let mut attributes = Vec::new();
    for attribute in search.attributes {
        put_octets(&mut attributes, attribute.as_bytes());
    }
    if search.attributes.is_empty() {
        put_octets(&mut attributes, NO_ATTRIBUTES.as_bytes());
    }
    put(&mut content, Class::Universal, true, Tag::Sequence.0, &attributes);
    let mut op = Vec::new();
    put(&mut op, Class::Application, true, 3, &content);
    message(id, &op)
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LdapResult<'a> {
    /// Of RFC 4511, appendix A.
    pub code: u32,
    /// For people, from the directory.
    pub diagnostic: &'a str,
}

/// An entry that a search found.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    attributes: Reader<'a>,
}

impl<'a> Entry<'a> {
    /// The values of an attribute, at most so many and one more; none that is no text.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn values(&self, attribute: &str, most: usize) -> Result<Vec<&'a str>, Malformed> {
        let (mut attributes, mut values) = (self.attributes, Vec::new());
        while !attributes.is_empty() {
            let mut one = attributes.sequence()?;
            let (described, mut set) = (one.text()?, one.set()?);
            if !described.eq_ignore_ascii_case(attribute) {
                continue;
            }
            while !set.is_empty() && values.len() <= most {
                // A value that is no text is nobody's name.
                values.extend(std::str::from_utf8(set.octets()?).ok());
            }
        }
        Ok(values)
    }
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// How a bind ended.
    Bind(LdapResult<'a>),
    /// One entry of a search.
    Entry(Entry<'a>),
    /// More of a search would be found elsewhere. Nobody goes there.
    Reference,
    /// How a search ended.
    Done(LdapResult<'a>),
    /// How an extended operation ended; with number 0 the directory ends the connection.
    Extended(LdapResult<'a>),
    /// Something on the way to an end, of no meaning here.
    Intermediate,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// Of the request that it answers.
    pub id: u32,
    /// What it says.
    pub op: Op<'a>,
}

impl<'a> Response<'a> {
    /// Reads one message that is there as a whole.
    ///
    /// # Errors
    /// [`Malformed`], also for a message that only a client may send.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader(bytes);
        let mut inner = outer.sequence()?;
        if !outer.is_empty() {
            return Err(Malformed);
        }
        let id = inner.number(Tag::Integer)?;
        let found = inner.next()?;
        // Controls are about what nobody asked for.
        if !inner.is_empty() {
            inner.expect(Class::ContextSpecific, 0, true)?;
        }
        if !inner.is_empty() || found.tag.0 != Class::Application || !found.constructed {
            return Err(Malformed);
        }
        let content = Reader(found.content);
        let op = match found.tag.1 {
            1 => Op::Bind(result(content)?),
            4 => Op::Entry(entry(content)?),
            5 => Op::Done(result(content)?),
            19 => Op::Reference,
            24 => Op::Extended(result(content)?),
            25 => Op::Intermediate,
            _ => return Err(Malformed),
        };
        Ok(Self { id, op })
    }
}

fn result(mut content: Reader<'_>) -> Result<LdapResult<'_>, Malformed> {
    let code = content.number(Tag::Enumerated)?;
    // The name of the entry that was reached; many directories send it with bytes of their own.
    content.octets()?;
    let diagnostic = std::str::from_utf8(content.octets()?).unwrap_or_default();
    // A referral, and what the operation has of its own: not looked at, but well-formed.
    while !content.is_empty() {
        if content.next()?.tag.0 != Class::ContextSpecific {
            return Err(Malformed);
        }
    }
    Ok(LdapResult { code, diagnostic })
}

fn entry(mut content: Reader<'_>) -> Result<Entry<'_>, Malformed> {
    let name = content.text()?;
    let attributes = content.sequence()?;
    if !content.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Malformed);
    }
    Ok(Entry { name, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_bytes_of_the_standard() {
        let bytes = bind(1, "cn=a", b"pw");
        assert_eq!(&bytes[..], b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw");
        assert_eq!(&unbind(2)[..], b"\x30\x05\x02\x01\x02\x42\0");
        assert_eq!(&start_tls(1)[..7], b"\x30\x1d\x02\x01\x01\x77\x18");
        let filter = b"\x87\x0bobjectClass";
        let asked =
            Search { base: "", is_subtree: false, entries_max: 1, time_s: 3, filter, attributes: &["uid"] };
        let expected = b"\x30\x2a\x02\x01\x02\x63\x25\x04\0\x0a\x01\0\x0a\x01\0\x02\x01\x01\x02\x01\x03\x01\x01\0\x87\x0bobjectClass\x30\x05\x04\x03uid";
        assert_eq!(&search(2, &asked)[..], expected);
    }

    #[test]
    fn answers_are_read_and_anything_else_is_malformed() {
        let bound = Response::decode(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\0\x04\0").unwrap();
        assert!(matches!(bound, Response { id: 1, op: Op::Bind(LdapResult { code: 49, .. }) }));
        let found = b"\x30\x1e\x02\x01\x02\x64\x19\x04\x04cn=a\x30\x11\x30\x0f\x04\x03UID\x31\x08\x04\x03bob\x04\x01\xff";
        let Response { op: Op::Entry(entry), .. } = Response::decode(found).unwrap() else { panic!() };
        assert_eq!((entry.name, entry.values("uid", 9)), ("cn=a", Ok(vec!["bob"])));
        assert_eq!(entry.values("cn", 9), Ok(vec![]));
        for bytes in [
            &b""[..],
            b"\x30\x00",
            b"\x30\x05\x02\x01\x02\x42\x00",
            b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\0\x04\0\0",
            b"\x30\x0c\x02\x01\xff\x61\x07\x0a\x01\x31\x04\0\x04\0",
            b"\x30\x08\x02\x01\x01\x64\x03\x04\x01\xff",
        ] {
            assert!(Response::decode(bytes).is_err(), "{bytes:x?}");
        }
    }
}
