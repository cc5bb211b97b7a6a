//! Versions of Debian packages and their order (Debian Policy, 5.6.12).

use std::cmp::Ordering;

/// The longest text that is read as a version.
const TEXT_MAX: usize = 256;

/// A version: `[epoch:]upstream[-revision]`.
#[derive(Debug, Clone)]
pub struct DebianVersion {
    text: String,
    epoch: u32,
    upstream: String,
    revision: String,
}

impl DebianVersion {
    /// Reads one; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | ':');
        if text.is_empty() || text.len() > TEXT_MAX || !text.chars().all(is_part) {
            return None;
        }
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().ok()?, rest),
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        if upstream.is_empty() {
            return None;
        }
        let (upstream, revision) = (upstream.to_owned(), revision.to_owned());
        Some(Self { text: text.to_owned(), epoch, upstream, revision })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version of the source, without the marks of a new import (`~deb12u1` belongs to the revision).
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The number of the Debian release that the revision was made for: 12 of `3.0.19-1~deb12u2`.
    pub fn release(&self) -> Option<u32> {
        let at = self.revision.rfind("deb")?;
        let digits = self.revision.get(at + 3..)?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let is_security = digits.get(end..)?.starts_with('u');
        digits.get(..end)?.parse().ok().filter(|_| is_security)
    }

    /// Whether somebody other than Debian made the revision, as far as it says so.
    pub fn is_foreign(&self) -> bool {
        self.revision.contains("ubuntu")
    }
}

impl PartialEq for DebianVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebianVersion {}

impl PartialOrd for DebianVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DebianVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = self.epoch.cmp(&other.epoch).then_with(|| compare(&self.upstream, &other.upstream));
        parts.then_with(|| compare(&self.revision, &other.revision))
    }
}

/// Compares what is no digit and what is, by turns.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) =
            (take(&mut a, |byte| !byte.is_ascii_digit()), take(&mut b, |byte| !byte.is_ascii_digit()));
        let weights = |text: &[u8]| text.iter().map(|byte| weight(*byte)).chain([0]).collect::<Vec<_>>();
        let order = weights(text_a).cmp(&weights(text_b));
        let (digits_a, digits_b) = (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
        let order = order.then_with(|| number(digits_a).cmp(&number(digits_b)));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Letters before other characters, `~` before everything, the end included, which is 0.
fn weight(byte: u8) -> i32 {
    match byte {
        b'~' => -1,
        byte if byte.is_ascii_alphabetic() => i32::from(byte),
        byte => i32::from(byte) + 256,
    }
}

/// A number of any length: without leading zeros, length first.
fn number(digits: &[u8]) -> (usize, &[u8]) {
    let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let digits = digits.get(start..).unwrap_or_default();
    (digits.len(), digits)
}

/// Takes the front that is of one kind.
fn take<'t>(text: &mut &'t [u8], is_kind: impl Fn(&u8) -> bool) -> &'t [u8] {
    let end = text.iter().position(|byte| !is_kind(byte)).unwrap_or(text.len());
    let (front, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    *text = rest;
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> DebianVersion {
        DebianVersion::parse(text).unwrap()
    }

    #[test]
    fn revisions_are_in_the_order_of_dpkg() {
        let order = [
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0",
            "1.0-1~deb12u1",
            "1.0-1",
            "1.0-1+deb12u1",
            "1.0-10",
            "1.0a",
            "1.0+b",
            "3.0.9-1",
            "3.0.17-1~deb12u3",
            "3.0.19-1~deb12u1",
            "3.0.19-1~deb12u2",
            "3.0.19-1",
            "1:0.1",
        ];
        for (at, low) in order.iter().enumerate() {
            for high in &order[at + 1..] {
                assert!(version(low) < version(high), "{low} {high}");
            }
        }
        assert_eq!(version("1.01-0"), version("1.1"));
    }

    #[test]
    fn the_release_is_read_from_the_revision() {
        assert_eq!(version("3.0.19-1~deb12u2").release(), Some(12));
        assert_eq!(version("3.5.1-1+deb13u1").release(), Some(13));
        assert_eq!(version("3.5.4-1~deb13u2+rpt1").release(), Some(13));
        for text in ["3.5.1-1", "3.0.2-0ubuntu1.25", "3.0.2-1~debu1", "3.0.2-1~deb12"] {
            assert_eq!(version(text).release(), None, "{text}");
        }
        assert!(version("3.0.2-0ubuntu1.25").is_foreign());
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in ["", "-1", "a b", "x:1", "1/2", "1\n2"] {
            assert!(DebianVersion::parse(text).is_none(), "{text}");
        }
    }
}
