//! The client's two messages (RFC 5802, section 7), read from bytes of a stranger.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use motte_seal::{SCRAM_KEY_BYTES, prepare};

/// A message may be so long, in bytes. What is kept of an exchange is no more than twice that.
pub const SCRAM_MESSAGE_BYTES_MAX: usize = 1_024;
/// Characters of a nonce.
const NONCE: std::ops::RangeInclusive<usize> = 8..=256;
/// The one channel binding that is spoken here (RFC 9266).
pub(crate) const TLS_EXPORTER: &str = "tls-exporter";

/// What a client says of channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BindingFlag {
    /// `n`: it cannot.
    None,
    /// `y`: it can, and thinks that the server cannot.
    Unused,
    /// `p=tls-exporter`: it is bound.
    Exporter,
}

/// client-first-message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFirst<'a> {
    pub(crate) flag: BindingFlag,
    /// The header that client-final repeats.
    pub(crate) header: &'a str,
    /// What is signed.
    pub(crate) bare: &'a str,
    /// The name, unescaped and prepared.
    pub(crate) name: String,
    pub(crate) nonce: &'a str,
}

/// client-final-message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFinal<'a> {
    /// What `c=` says, decoded.
    pub(crate) binding: Vec<u8>,
    pub(crate) nonce: &'a str,
    pub(crate) proof: [u8; SCRAM_KEY_BYTES],
    /// What is signed: everything before `,p=`.
    pub(crate) without_proof: &'a str,
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    if bytes.len() > SCRAM_MESSAGE_BYTES_MAX {
        return Err("a SCRAM message of more than 1024 bytes");
    }
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or("a SCRAM message that is no text")
}

impl<'a> ClientFirst<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        const FORM: &str = "a first SCRAM message that does not have the form of one";
        let text = text(bytes)?;
        let (flag, rest) = text.split_once(',').ok_or(FORM)?;
        let flag = match flag.split_once('=') {
            None if flag == "n" => BindingFlag::None,
            None if flag == "y" => BindingFlag::Unused,
            Some(("p", TLS_EXPORTER)) => BindingFlag::Exporter,
            Some(("p", _)) => return Err("a channel binding that is not offered: only tls-exporter is"),
            _ => return Err(FORM),
        };
        let (authzid, bare) = rest.split_once(',').ok_or(FORM)?;
        let header = text.get(..text.len() - bare.len()).ok_or(FORM)?;
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|one| one.strip_prefix("n=")).ok_or(FORM)?;
        let name = unescaped(name).ok_or("a SCRAM name that is none")?;
        let acts_as = match authzid.strip_prefix("a=") {
            Some(other) => unescaped(other).ok_or("a SCRAM name that is none")?,
            None if authzid.is_empty() => name.clone(),
            None => return Err(FORM),
        };
        if acts_as != name {
            return Err("a client that wants to act as somebody else");
        }
        let nonce = attributes.next().and_then(|one| one.strip_prefix("r=")).ok_or(FORM)?;
        if !is_nonce(nonce) {
            return Err("a SCRAM nonce that is none, or shorter than 8 characters");
        }
        attributes.try_for_each(extension)?;
        Ok(Self { flag, header, bare, name, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        const FORM: &str = "a last SCRAM message that does not have the form of one";
        let text = text(bytes)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(FORM)?;
        let proof = BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(FORM)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|one| one.strip_prefix("c=")).ok_or(FORM)?;
        let binding = BASE64.decode(binding).map_err(|_| FORM)?;
        let nonce = attributes.next().and_then(|one| one.strip_prefix("r=")).ok_or(FORM)?;
        attributes.try_for_each(extension)?;
        Ok(Self { binding, nonce, proof, without_proof })
    }
}

/// An attribute that we do not know may stand there, but not one that must be understood (`m=`), nor a proof.
fn extension(attribute: &str) -> Result<(), &'static str> {
    let mut letters = attribute.bytes();
    match (letters.next(), letters.next()) {
        (Some(b'm'), Some(b'=')) => Err("a SCRAM extension that must be understood, and is not"),
        (Some(letter), Some(b'=')) if letter.is_ascii_alphabetic() && letter != b'p' => Ok(()),
        _ => Err("a SCRAM attribute that does not have the form of one"),
    }
}

fn is_nonce(text: &str) -> bool {
    NONCE.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// A name with `=2C` and `=3D` undone, prepared as a password is.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match part.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        plain.push(letter);
        plain.push_str(rest);
    }
    prepare(&plain).map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_is_read_with_its_name_unescaped() {
        let first = ClientFirst::parse(b"n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=12345678,x=any").unwrap();
        assert_eq!((first.flag, first.header), (BindingFlag::None, "n,a=a=2Cb=3Dc,"));
        assert_eq!((first.name.as_str(), first.nonce), ("a,b=c", "12345678"));
        assert_eq!(first.bare, "n=a=2Cb=3Dc,r=12345678,x=any");
        let bound = ClientFirst::parse(b"p=tls-exporter,,n=user,r=12345678").unwrap();
        assert_eq!((bound.flag, bound.header), (BindingFlag::Exporter, "p=tls-exporter,,"));
        assert_eq!(ClientFirst::parse(b"y,,n=user,r=12345678").unwrap().flag, BindingFlag::Unused);
    }

    #[test]
    fn a_first_message_that_is_none_is_refused() {
        for text in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "n,,n=user,r=short",
            "n,,n=user,r=1234567\u{e4}",
            "n,,n=,r=12345678",
            "n,,n=us=er,r=12345678",
            "n,,n=us=2c,r=12345678",
            "n,,m=x,n=user,r=12345678",
            "n,,n=user,r=12345678,m=x",
            "n,,n=user,r=12345678,",
            "n,,n=user,r=12345678,p=AAAA",
            "n,a=other,n=user,r=12345678",
            "n,b,n=user,r=12345678",
            "p=tls-unique,,n=user,r=12345678",
            "p,,n=user,r=12345678",
            "x,,n=user,r=12345678",
            "n,,n=us\0er,r=12345678",
        ] {
            assert!(ClientFirst::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(ClientFirst::parse(&[b'n'; SCRAM_MESSAGE_BYTES_MAX + 1]).is_err());
        assert!(ClientFirst::parse(b"n,,n=\xff,r=12345678").is_err());
    }

    #[test]
    fn a_last_message_is_read_up_to_its_proof() {
        let proof = BASE64.encode([7; SCRAM_KEY_BYTES]);
        let text = format!("c=biws,r=12345678abc,x=any,p={proof}");
        let last = ClientFinal::parse(text.as_bytes()).unwrap();
        assert_eq!((last.binding.as_slice(), last.nonce), (b"n,,".as_slice(), "12345678abc"));
        assert_eq!(last.without_proof, "c=biws,r=12345678abc,x=any");
        assert_eq!(last.proof, [7; SCRAM_KEY_BYTES]);
        for text in [
            "",
            "c=biws,r=12345678",
            "c=biws,r=12345678,p=",
            "c=biws,r=12345678,p=AAAA",
            &format!("c=b,r=12345678,p={proof}"),
            &format!("r=12345678,c=biws,p={proof}"),
            &format!("c=biws,r=12345678,m=x,p={proof}"),
            &format!("c=biws,r=12345678,p={proof},p={proof}"),
            &format!("c=biws,r=12345678,p={proof},x=y"),
        ] {
            assert!(ClientFinal::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
