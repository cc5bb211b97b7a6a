//! Versions of OpenSSL, and the text in its libraries that tells them.

use std::fmt;

use jiff::civil::Date;

/// The longest text that is read as a version.
const TEXT_MAX: usize = 32;

/// A version: three numbers and, before 3.0, letters that count on (`1.1.1w`, then `1.1.1x`, …, `1.1.1za`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: [u32; 3],
    /// Length first, so that `za` follows `z`.
    letters: (usize, String),
}

impl Version {
    /// Reads one. A mark behind a hyphen (`-fips`, `-dev`) is no part of it; `None` for a version before its release
    /// (`-alpha`, `-beta`, `-pre`), which no table lists, and for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (text, mark) = text.split_once('-').unwrap_or((text, ""));
        if ["alpha", "beta", "pre"].iter().any(|early| mark.starts_with(early)) {
            return None;
        }
        let letters_at = text.find(|c: char| c.is_ascii_lowercase()).unwrap_or(text.len());
        let (numbers, letters) = text.split_at_checked(letters_at)?;
        if !letters.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let mut parts = numbers.split('.').map(|part| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| is_number)
        });
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then(|| Self { numbers, letters: (letters.len(), letters.to_owned()) })
    }

    /// The branch that it belongs to: `3.0` of `3.0.7`, `1.1.1` of `1.1.1w`.
    pub fn branch(&self) -> String {
        let [major, minor, patch] = self.numbers;
        if major >= 3 { format!("{major}.{minor}") } else { format!("{major}.{minor}.{patch}") }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}{}", self.letters.1)
    }
}

/// What a library says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// Its version.
    pub version: Version,
    /// The day of its release.
    pub released: Date,
}

/// How the text begins.
const START: &[u8] = b"OpenSSL ";
/// The longest text that is looked at, in bytes.
pub(crate) const BANNER_MAX: usize = 64;

/// Looks for the text that `OpenSSL_version` returns, `OpenSSL 3.0.1 14 Dec 2021`, in a part of a file.
pub fn banner(bytes: &[u8]) -> Option<Banner> {
    let mut rest = bytes;
    // The standard library looks for one byte fast.
    while rest.contains(&b'O') {
        let at = rest.iter().position(|byte| *byte == b'O')?;
        rest = rest.get(at..)?;
        if let Some(found) = rest.strip_prefix(START).and_then(read_banner) {
            return Some(found);
        }
        rest = rest.get(1..)?;
    }
    None
}

fn read_banner(bytes: &[u8]) -> Option<Banner> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let end = bytes.iter().take(BANNER_MAX).position(|byte| !(b' '..=b'~').contains(byte));
    let text = bytes.get(..end.unwrap_or(BANNER_MAX.min(bytes.len())))?;
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let version = Version::parse(words.next()?)?;
    let day = words.next()?.parse::<i8>().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = words.next()?.get(..4)?.parse::<i16>().ok()?;
    let released = Date::new(year, i8::try_from(month + 1).ok()?, day).ok()?;
    Some(Banner { version, released })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_are_in_the_order_of_their_releases() {
        let order = [
            "0.9.8zh", "1.0.1", "1.0.1g", "1.0.2", "1.1.1", "1.1.1a", "1.1.1z", "1.1.1za", "1.1.1zj",
            "3.0.1", "3.0.10", "3.5.0",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for text in order {
            assert_eq!(version(text).to_string(), text);
        }
        assert_eq!(version("1.0.2k-fips"), version("1.0.2k"));
        assert_eq!(
            (version("3.0.7").branch(), version("1.1.1w").branch()),
            ("3.0".to_owned(), "1.1.1".to_owned())
        );
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            "3",
            "3.0",
            "3.0.",
            "3.0.1.2",
            "3..1",
            "a",
            "3.0.1A",
            "3.0.-1",
            "3.0.+1",
            "99999999999.0.0",
            "3.0.0-beta1",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_banner_is_found_among_other_text() {
        let bytes = b"\x7fELFOpenSSL is fine\0OpenSSL 3.x\0OOpenSSL 3.0.1 14 Dec 2021\0more";
        let found = banner(bytes).unwrap();
        assert_eq!(found.version, version("3.0.1"));
        assert_eq!(found.released, Date::constant(2021, 12, 14));
        let old = banner(b"OpenSSL 1.0.2k-fips  26 Jan 2017\0").unwrap();
        assert_eq!(old.version, version("1.0.2k"));
        for bytes in [
            &b""[..],
            b"OpenSSL ",
            b"OpenSSL 3.0.1 14 Dez 2021",
            b"OpenSSL 3.0.1 31 Feb 2021",
            b"OpenSSL 3.0.1\0 14 Dec 2021",
        ] {
            assert_eq!(banner(bytes), None);
        }
    }
}
