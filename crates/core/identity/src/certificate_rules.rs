//! From a verified certificate to an identity: which of its names, whether its authority may speak for it, and whether it is
//! the one that the identity is pinned to.

use std::collections::BTreeMap;

use motte_access::CertificateFacts;

use crate::certificate::is_name;

/// Which name of a certificate is the identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CertificateName {
    /// Common Name of the subject.
    #[default]
    CommonName,
    /// The first DNS name among the alternative names.
    DnsName,
    /// The first URI among the alternative names.
    Uri,
    /// The SPIFFE ID: the only URI among the alternative names.
    Spiffe,
    /// Several, with text between them.
    Template(Vec<NamePiece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePiece {
    /// As it stands.
    Text(String),
    /// A name of the certificate.
    Field(NameField),
}

/// A name of a certificate in a template; there must be exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameField {
    /// Common Name.
    CommonName,
    /// Organizational Unit.
    Unit,
    /// Organization.
    Organization,
    /// DNS name.
    DnsName,
    /// URI.
    Uri,
    /// Serial number.
    Serial,
}

/// An authority and the identities that it may speak for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeaksFor {
    /// The authority's name.
    pub authority: String,
    /// Patterns of identities; `*` stands for any text.
    pub identities: Vec<String>,
}

/// Certificates that identities are pinned to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<String, Vec<String>>);

/// A fault in a file of pins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; {remedy}")]
pub struct PinsError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// How a certificate becomes an identity at a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateRules {
    /// Which of its names.
    pub name: CertificateName,
    /// Who may speak for whom; empty: every authority for everybody.
    pub authorities: Vec<SpeaksFor>,
    /// Which certificates identities are pinned to.
    pub pins: Pins,
}

impl CertificateRules {
    /// The identity of a certificate that TLS verified.
    ///
    /// # Errors
    /// Which rule keeps it from having one, and the identity as far as it is known, for the log.
    pub fn identity(&self, facts: &CertificateFacts) -> Result<String, (&'static str, String)> {
        let Some(name) = self.name.of(facts).filter(|name| is_name(name)) else {
            return Err(("the certificate has no usable name", String::new()));
        };
        if name.contains('*') {
            return Err(("the name of the certificate has a wildcard", name));
        }
        let vouches = |rule: &&SpeaksFor| facts.authorities.contains(&rule.authority);
        let mut speakers = self.authorities.iter().filter(vouches);
        if !self.authorities.is_empty() && !speakers.any(|rule| rule.permits(&name)) {
            return Err(("the authority of the certificate may not speak for this identity", name));
        }
        if !self.pins.permit(&name, &facts.fingerprint) {
            return Err(("the identity is pinned to another certificate", name));
        }
        Ok(name)
    }
}

impl SpeaksFor {
    fn permits(&self, identity: &str) -> bool {
        self.identities.iter().any(|pattern| fits(pattern, identity))
    }
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    // The leftmost place is as good as any later one.
    while let Some((part, more)) = rest.split_once('*') {
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
        rest = more;
    }
    left.ends_with(rest)
}

impl CertificateName {
    fn of(&self, facts: &CertificateFacts) -> Option<String> {
        match self {
            Self::CommonName => facts.cn.clone(),
            Self::DnsName => facts.dns_names.first().cloned(),
            Self::Uri => facts.uris.first().cloned(),
            Self::Spiffe => only(&facts.uris).filter(|uri| is_spiffe_id(uri)).map(str::to_owned),
            Self::Template(pieces) => fill(pieces, facts),
        }
    }
}

/// Fills a template. Two certificates mean the same identity only if they agree in each name: no value holds a character of
/// the text between two placeholders, so where each one ends can be read off the identity.
fn fill(pieces: &[NamePiece], facts: &CertificateFacts) -> Option<String> {
    let inner = pieces.get(1..pieces.len().saturating_sub(1)).unwrap_or_default();
    let between: String = inner
        .iter()
        .filter_map(|piece| match piece {
            NamePiece::Text(text) => Some(text.as_str()),
            NamePiece::Field(_) => None,
        })
        .collect();
    let value = |piece: &NamePiece| match piece {
        NamePiece::Text(text) => Some(text.clone()),
        NamePiece::Field(field) => {
            let value = match field {
                NameField::CommonName => facts.cn.as_deref(),
                NameField::Unit => facts.ou.as_deref(),
                NameField::Organization => facts.o.as_deref(),
                NameField::DnsName => only(&facts.dns_names),
                NameField::Uri => only(&facts.uris),
                NameField::Serial => Some(facts.serial.as_str()),
            };
            value
                .filter(|value| !value.is_empty() && !value.contains(|c| between.contains(c)))
                .map(str::to_owned)
        }
    };
    pieces.iter().map(value).collect()
}

fn only(names: &[String]) -> Option<&str> {
    match names {
        [one] => Some(one),
        _ => None,
    }
}

/// Whether a URI is a SPIFFE ID of a workload (SPIFFE-ID section 2): a trust domain and a path, and nothing else.
fn is_spiffe_id(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let is_plain = |byte: u8, upper: bool| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'-' | b'.' | b'_')
            || upper && byte.is_ascii_uppercase()
    };
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..") && segment.bytes().all(|byte| is_plain(byte, true))
    };
    !domain.is_empty() && domain.bytes().all(|byte| is_plain(byte, false)) && path.split('/').all(is_segment)
}

impl Pins {
    /// Reads a file: a line for each pin, the identity and the SHA-256 of its certificate with a space between. Several lines of
    /// one identity are several pins, so that a certificate can be exchanged. Colons in the digest are passed over.
    ///
    /// # Errors
    /// The first fault; the file is then not used at all.
    pub fn parse(text: &str) -> Result<Self, PinsError> {
        let mut pins = BTreeMap::<String, Vec<String>>::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |what, remedy| PinsError { line: number + 1, what, remedy };
            let Some((identity, digest)) = line.rsplit_once([' ', '\t']) else {
                return Err(fault("no identity and digest", "write `IDENTITY SHA256`"));
            };
            let identity = identity.trim_end();
            if !is_name(identity) {
                return Err(fault(
                    "the identity is not permitted",
                    "use a name without `+`, `#` and control characters",
                ));
            }
            let digest: String =
                digest.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let remedy = "write what `openssl x509 -in FILE -noout -fingerprint -sha256` says";
                return Err(fault("the digest is no SHA-256 in hexadecimal", remedy));
            }
            pins.entry(identity.to_owned()).or_default().push(digest);
        }
        Ok(Self(pins))
    }

    /// Whether an identity may come with a certificate: it has no pin, or this one.
    fn permit(&self, identity: &str, fingerprint: &str) -> bool {
        self.0.get(identity).is_none_or(|pins| pins.iter().any(|pin| pin == fingerprint))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(cn: &str, o: &str) -> CertificateFacts {
        CertificateFacts { cn: Some(cn.into()), o: Some(o.into()), ..CertificateFacts::default() }
    }

    fn with_uris(uris: &[&str]) -> CertificateFacts {
        let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        CertificateFacts { uris, ..CertificateFacts::default() }
    }

    fn template(between: &str) -> CertificateName {
        CertificateName::Template(vec![
            NamePiece::Field(NameField::CommonName),
            NamePiece::Text(between.into()),
            NamePiece::Field(NameField::Organization),
        ])
    }

    #[test]
    fn a_template_takes_one_value_each_and_none_that_could_end_elsewhere() {
        let rules = CertificateRules { name: template("@"), ..CertificateRules::default() };
        assert_eq!(rules.identity(&facts("dev-1", "acme")).unwrap(), "dev-1@acme");
        for (cn, o) in [("a@b", "c"), ("a", "b@c"), ("", "c"), ("a", ""), ("a#", "c")] {
            assert!(rules.identity(&facts(cn, o)).is_err(), "{cn} {o}");
        }
        let prefix = CertificateName::Template(vec![
            NamePiece::Text("device-".into()),
            NamePiece::Field(NameField::CommonName),
        ]);
        assert_eq!(
            prefix.of(&facts("a-b", "")).as_deref(),
            Some("device-a-b"),
            "one name cannot be mistaken"
        );
    }

    #[test]
    fn a_spiffe_id_is_the_only_uri_and_nothing_but_domain_and_path() {
        let id = |uris: &[&str]| CertificateName::Spiffe.of(&with_uris(uris));
        assert_eq!(id(&["spiffe://site.example/line/3"]).as_deref(), Some("spiffe://site.example/line/3"));
        for bad in [
            "spiffe://site.example",
            "spiffe://site.example/",
            "spiffe://Site.example/a",
            "spiffe://site.example:1/a",
            "spiffe://u@site.example/a",
            "spiffe://site.example/a/../b",
            "spiffe://site.example/a//b",
            "spiffe://site.example/a?b",
            "spiffe://site.example/%61",
            "SPIFFE://site.example/a",
            "https://site.example/a",
        ] {
            assert_eq!(id(&[bad]), None, "{bad}");
        }
        assert_eq!(id(&["spiffe://a/b", "spiffe://a/c"]), None, "of two nobody knows which");
    }

    #[test]
    fn an_authority_speaks_only_for_those_it_may() {
        let speaks = |authority: &str, pattern: &str| SpeaksFor {
            authority: authority.into(),
            identities: vec![pattern.into()],
        };
        let rules = CertificateRules {
            authorities: vec![speaks("a", "site-a-*"), speaks("b", "site-b-*")],
            ..CertificateRules::default()
        };
        let of = |authorities: &[&str], cn: &str| {
            let authorities = authorities.iter().map(|name| (*name).to_owned()).collect();
            rules.identity(&CertificateFacts { authorities, ..facts(cn, "") })
        };
        assert!(of(&["a"], "site-a-1").is_ok() && of(&["b", "a"], "site-a-1").is_ok());
        for (by, cn) in
            [(&["b"][..], "site-a-1"), (&["a"], "site-b-1"), (&["a"], "x-site-a-1"), (&[], "site-a-1")]
        {
            assert!(of(by, cn).unwrap_err().0.contains("may not speak"), "{by:?} {cn}");
        }
    }

    #[test]
    fn two_pins_let_a_certificate_be_exchanged_and_a_bad_line_refuses_the_file() {
        let (one, two) = ("ab".repeat(32), "CD:".repeat(31) + "CD");
        let pins = Pins::parse(&format!("# pins\n\ndev 1 {one}\ndev 1\t{two}\n")).unwrap();
        let rules = CertificateRules { pins, ..CertificateRules::default() };
        let of = |cn: &str, digest: &str| {
            rules.identity(&CertificateFacts { fingerprint: digest.into(), ..facts(cn, "") }).is_ok()
        };
        assert!(of("dev 1", &one) && of("dev 1", &"cd".repeat(32)) && of("dev 2", "other"));
        assert!(!of("dev 1", &"ef".repeat(32)));
        for bad in [
            "dev-1".to_owned(),
            "dev-1 abc".into(),
            format!("a+b {one}"),
            format!("dev-1 {}", "xy".repeat(32)),
        ] {
            assert_eq!(Pins::parse(&format!("\n{bad}\n")).unwrap_err().line, 2, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn different_names_never_make_one_identity(a in "[ab@-]{0,5}", b in "[ab@-]{0,5}", c in "[ab@-]{0,5}", d in "[ab@-]{0,5}", between in "[@-]{1,3}") {
            let name = template(&between);
            let (one, other) = (name.of(&facts(&a, &b)), name.of(&facts(&c, &d)));
            prop_assert!(one.is_none() || one != other || (a, b) == (c, d));
        }

        #[test]
        fn patterns_fit_as_regular_expressions_do(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match pattern {
                    [] => text.is_empty(),
                    [b'*', rest @ ..] => (0..=text.len()).any(|at| slow(rest, &text[at..])),
                    [one, rest @ ..] => text.first() == Some(one) && slow(rest, &text[1..]),
                }
            }
            prop_assert_eq!(fits(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
