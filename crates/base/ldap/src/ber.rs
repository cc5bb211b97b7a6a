//! Elements of BER as LDAP restricts it (RFC 4511, 5.1): definite lengths only, which need not be the shortest.

use asn1_rs::{Class, FromBer as _, Header, Length, Tag, ToDer as _};
use zeroize::Zeroizing;

/// Bytes of an answer that are no message of LDAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no message of LDAP")]
pub struct Malformed;

/// Longest head of an element: its tag and its length.
const HEAD_BYTES_MAX: usize = 16;

/// One element, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: (Class, u32),
    pub(crate) constructed: bool,
    pub(crate) content: &'a [u8],
}

/// The elements of some bytes, one after the other. Nothing is decoded before it is asked for, so that nesting costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn next(&mut self) -> Result<Element<'a>, Malformed> {
        let (rest, header) = Header::from_ber(self.0).map_err(|_| Malformed)?;
        let Length::Definite(length) = header.length() else { return Err(Malformed) };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(Element { tag: (header.class(), header.tag().0), constructed: header.constructed(), content })
    }

    /// The next element, which has this tag and form.
    pub(crate) fn expect(
        &mut self,
        class: Class,
        tag: u32,
        constructed: bool,
    ) -> Result<&'a [u8], Malformed> {
        let found = self.next()?;
        let is_it = found.tag == (class, tag) && found.constructed == constructed;
        if is_it { Ok(found.content) } else { Err(Malformed) }
    }

    pub(crate) fn octets(&mut self) -> Result<&'a [u8], Malformed> {
        self.expect(Class::Universal, Tag::OctetString.0, false)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.octets()?).map_err(|_| Malformed)
    }

    pub(crate) fn sequence(&mut self) -> Result<Reader<'a>, Malformed> {
        self.expect(Class::Universal, Tag::Sequence.0, true).map(Reader)
    }

    pub(crate) fn set(&mut self) -> Result<Reader<'a>, Malformed> {
        self.expect(Class::Universal, Tag::Set.0, true).map(Reader)
    }

    /// A number from 0 to 2147483647, as an INTEGER or an ENUMERATED.
    pub(crate) fn number(&mut self, tag: Tag) -> Result<u32, Malformed> {
        let content = self.expect(Class::Universal, tag.0, false)?;
        if content.is_empty() || content.len() > 4 || content.first().is_some_and(|first| *first > 0x7f) {
            return Err(Malformed);
        }
        Ok(content.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
    }
}

/// How much of some bytes is the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// Not all of it is there.
    More,
    /// So many bytes.
    Whole(usize),
    /// It is longer than permitted.
    TooLong,
}

/// Finds the end of the first message in what was received, which may be `most` bytes long.
///
/// # Errors
/// [`Malformed`], as early as it can be known.
pub fn frame(received: &[u8], most: usize) -> Result<Framed, Malformed> {
    match received.first() {
        None => return Ok(Framed::More),
        Some(0x30) => {}
        Some(_) => return Err(Malformed),
    }
    match Header::from_ber(received) {
        Ok((rest, header)) => {
            let Length::Definite(length) = header.length() else { return Err(Malformed) };
            let whole = length.checked_add(received.len() - rest.len()).ok_or(Malformed)?;
            Ok(match whole {
                whole if whole > most => Framed::TooLong,
                whole if whole <= received.len() => Framed::Whole(whole),
                _ => Framed::More,
            })
        }
        Err(asn1_rs::Err::Incomplete(_)) if received.len() < HEAD_BYTES_MAX => Ok(Framed::More),
        Err(_) => Err(Malformed),
    }
}

/// Adds an element to a message.
pub(crate) fn put(out: &mut Vec<u8>, class: Class, constructed: bool, tag: u32, content: &[u8]) {
    let header = Header::new(class, constructed, Tag(tag), Length::Definite(content.len()));
    // Memory takes every byte, and no message of ours has a length that could not be written.
    let _ = header.write_der_header(out);
    out.extend_from_slice(content);
}

pub(crate) fn put_octets(out: &mut Vec<u8>, content: &[u8]) {
    put(out, Class::Universal, false, Tag::OctetString.0, content);
}

/// Adds an INTEGER or an ENUMERATED.
pub(crate) fn put_number(out: &mut Vec<u8>, tag: Tag, number: u32) {
    let bytes = number.to_be_bytes();
    let skipped = bytes.iter().take(3).take_while(|byte| **byte == 0).count();
    let short = bytes.get(skipped..).unwrap_or_default();
    let zero: &[u8] = if short.first().is_some_and(|first| *first > 0x7f) { &[0] } else { &[] };
    put(out, Class::Universal, false, tag.0, &[zero, short].concat());
}

/// A message around an operation, in memory that is wiped.
pub(crate) fn message(id: u32, op: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut content = Zeroizing::new(Vec::with_capacity(op.len() + HEAD_BYTES_MAX));
    put_number(&mut content, Tag::Integer, id);
    content.extend_from_slice(op);
    let mut out = Zeroizing::new(Vec::with_capacity(content.len() + HEAD_BYTES_MAX));
    put(&mut out, Class::Universal, true, Tag::Sequence.0, &content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_when_its_last_byte_is_there_and_never_longer_than_permitted() {
        for (bytes, expected) in [
            (&b""[..], Ok(Framed::More)),
            (b"\x30", Ok(Framed::More)),
            (b"\x30\x02\x01", Ok(Framed::More)),
            (b"\x30\x02\x01\x01\x30", Ok(Framed::Whole(4))),
            // As some directories write every length.
            (b"\x30\x84\0\0\0\x01\x05", Ok(Framed::Whole(7))),
            (b"\x30\x84\0\0", Ok(Framed::More)),
            (b"\x30\x82\x01\0", Ok(Framed::TooLong)),
            (b"\x30\x80\0\0", Err(Malformed)),
            (b"\x30\xff", Err(Malformed)),
            (b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", Err(Malformed)),
            (b"HTTP/1.1 400", Err(Malformed)),
        ] {
            assert_eq!(frame(bytes, 200), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_come_back() {
        for (number, length) in
            [(0, 1), (127, 1), (128, 2), (255, 2), (256, 2), (0x8000, 3), (0x7fff_ffff, 4)]
        {
            let mut out = Vec::new();
            put_number(&mut out, Tag::Integer, number);
            assert_eq!(out.len(), length + 2);
            assert_eq!(Reader(&out).number(Tag::Integer), Ok(number));
        }
        assert_eq!(Reader(b"\x02\x01\xff").number(Tag::Integer), Err(Malformed), "a negative one");
        assert_eq!(Reader(b"\x02\x00").number(Tag::Integer), Err(Malformed));
    }
}
