//! A source that the process that connects out may ask: where it is, how it is asked and with what, as it goes from the supervisor
//! to that process.

use std::sync::Arc;

use motte_config::{Described, ORIGINS_MAX, Outward, OutwardDirectory, Purpose, Url};
use motte_ldap::PlanText;
use motte_seal::SecretString;

use crate::cursor::{Cursor, Malformed, put_count, put_text_cut};

/// Headers that go with a request.
pub const HEADERS_MAX: usize = 16;
/// Longest name or value of a header, in bytes.
pub const HEADER_BYTES_MAX: usize = 8 * 1_024;
const URL_BYTES_MAX: usize = 2_048;
/// Longest text of how a directory is asked, in bytes.
const PLAN_BYTES_MAX: usize = 4_096;
/// Room for how a directory is asked, and for the password of its account.
const SECRET_ROOM: usize = 8 * (PLAN_BYTES_MAX + 8) + HEADER_BYTES_MAX + 16;
/// Room for a whole source.
pub(crate) const SOURCE_BYTES_MAX: usize =
    HEADERS_MAX * 2 * (HEADER_BYTES_MAX + 4) + (ORIGINS_MAX + 3) * (URL_BYTES_MAX + 4) + SECRET_ROOM + 64;

/// Which configuration the numbers of sources belong to: a digest of its sources, the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SetId(pub u64);

impl SetId {
    /// Of the sources of a configuration.
    pub fn of(outward: &[Outward]) -> Self {
        let mut bytes = Vec::new();
        put_count(&mut bytes, outward.len());
        for one in outward {
            put_facts(&mut bytes, &SourceFacts::of(one));
            let secret = one.directory.as_ref().and_then(|directory| directory.password_file.as_ref());
            for path in one.ca.iter().chain(&one.headers_file).chain(secret) {
                crate::cursor::put_path(&mut bytes, path);
            }
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        Self(digest.as_ref().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }
}

/// Where a source is, and what bounds its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// Its address.
    pub url: String,
    /// What it is for; that decides how it is asked.
    pub purpose: Purpose,
    /// Time to connect, in milliseconds.
    pub connect_ms: u32,
    /// Time for a whole request, in milliseconds.
    pub total_ms: u32,
    /// Longest request body, in bytes.
    pub request_max: u32,
    /// Longest answer, in bytes.
    pub answer_max: u32,
    /// Requests at once.
    pub outstanding: u16,
    /// Of [`Purpose::Discovery`]: what the description must say, and where it may lead.
    pub described: Option<Described>,
    /// How it is asked, where it is a directory.
    pub directory: Option<SourceDirectory>,
}

/// How a directory is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDirectory {
    /// Nothing is encrypted.
    pub plaintext: bool,
    /// What it is asked.
    pub plan: PlanText,
}

impl SourceDirectory {
    fn of(directory: &OutwardDirectory) -> Self {
        Self { plaintext: directory.plaintext, plan: directory.plan.clone() }
    }
}

impl SourceFacts {
    /// As configured.
    pub fn of(outward: &Outward) -> Self {
        Self {
            url: outward.url.as_str().to_owned(),
            purpose: outward.purpose,
            connect_ms: outward.connect_timeout_ms,
            total_ms: outward.timeout_ms,
            request_max: outward.request_bytes_max,
            answer_max: outward.answer_bytes_max,
            outstanding: outward.outstanding_max,
            described: outward.described.clone(),
            directory: outward.directory.as_ref().map(SourceDirectory::of),
        }
    }

    /// The TCP ports that asking it may connect to.
    pub fn ports(&self) -> Vec<u16> {
        let origins = self.described.iter().flat_map(|described| &described.origins);
        self.address().iter().chain(origins).map(Url::port).collect()
    }

    /// Its address, read.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn address(&self) -> Result<Url, &'static str> {
        match self.purpose {
            Purpose::Directory => Url::parse_ldap(&self.url),
            Purpose::RevocationList
            | Purpose::Hook
            | Purpose::TokenKeys
            | Purpose::Discovery
            | Purpose::Ocsp => Url::parse(&self.url),
        }
    }
}

/// A header that goes with each request. Its value is a secret.
#[derive(Debug, Clone)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Arc<SecretString>,
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value.expose() == other.value.expose()
    }
}

/// A source as the supervisor gives it.
#[derive(Debug, Clone)]
pub struct OutwardSource {
    /// Where it is.
    pub facts: SourceFacts,
    /// Which text of authorities its server's certificate must come from; of no use without TLS.
    pub authorities: u8,
    /// Headers.
    pub headers: Vec<Header>,
    /// The password of the account by which a directory is searched.
    pub password: Option<Arc<SecretString>>,
}

impl PartialEq for OutwardSource {
    fn eq(&self, other: &Self) -> bool {
        let password = |one: &Self| one.password.clone();
        let (own, others) = (password(self), password(other));
        (&self.facts, self.authorities, &self.headers) == (&other.facts, other.authorities, &other.headers)
            && own.as_deref().map(SecretString::expose) == others.as_deref().map(SecretString::expose)
    }
}

pub(crate) fn put_facts(out: &mut Vec<u8>, facts: &SourceFacts) {
    put_text_cut(out, &facts.url, URL_BYTES_MAX);
    out.push(match facts.purpose {
        Purpose::RevocationList => 0,
        Purpose::Hook => 1,
        Purpose::TokenKeys => 2,
        Purpose::Discovery => 3,
        Purpose::Ocsp => 4,
        Purpose::Directory => 5,
    });
    for number in [facts.connect_ms, facts.total_ms, facts.request_max, facts.answer_max] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&facts.outstanding.to_le_bytes());
    out.push(u8::from(facts.described.is_some()));
    if let Some(described) = &facts.described {
        put_text_cut(out, &described.issuer, URL_BYTES_MAX);
        put_count(out, described.origins.len());
        for origin in &described.origins {
            put_text_cut(out, origin.as_str(), URL_BYTES_MAX);
        }
    }
    put_directory(out, facts.directory.as_ref());
}

fn described(cursor: &mut Cursor<'_>) -> Result<Option<Described>, Malformed> {
    match cursor.u8()? {
        0 => Ok(None),
        1 => {
            let issuer = cursor.text(URL_BYTES_MAX)?;
            let origin = |cursor: &mut Cursor<'_>| {
                Url::parse(&cursor.text(URL_BYTES_MAX)?).map_err(|_| Malformed::Unknown)
            };
            Ok(Some(Described { issuer, origins: cursor.list(ORIGINS_MAX + 1, origin)? }))
        }
        _ => Err(Malformed::Unknown),
    }
}

fn put_directory(out: &mut Vec<u8>, directory: Option<&SourceDirectory>) {
    let Some(SourceDirectory { plaintext, plan }) = directory else { return out.push(0) };
    out.extend([1, u8::from(*plaintext)]);
    for (_, text) in plan.fields() {
        put_optional(out, text, PLAN_BYTES_MAX);
    }
}

pub(crate) fn put_optional(out: &mut Vec<u8>, text: Option<&str>, most: usize) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text_cut(out, text, most);
    }
}

fn optional(cursor: &mut Cursor<'_>, most: usize) -> Result<Option<String>, Malformed> {
    if cursor.flag()? { cursor.text(most).map(Some) } else { Ok(None) }
}

fn directory(cursor: &mut Cursor<'_>) -> Result<Option<SourceDirectory>, Malformed> {
    if !cursor.flag()? {
        return Ok(None);
    }
    let plaintext = cursor.flag()?;
    let mut fields = PlanText::default().fields().map(|_| None);
    for field in &mut fields {
        *field = optional(cursor, PLAN_BYTES_MAX)?;
    }
    Ok(Some(SourceDirectory { plaintext, plan: PlanText::of(fields) }))
}

pub(crate) fn source(cursor: &mut Cursor<'_>) -> Result<OutwardSource, Malformed> {
    let facts = SourceFacts {
        url: cursor.text(URL_BYTES_MAX)?,
        purpose: match cursor.u8()? {
            0 => Purpose::RevocationList,
            1 => Purpose::Hook,
            2 => Purpose::TokenKeys,
            3 => Purpose::Discovery,
            4 => Purpose::Ocsp,
            5 => Purpose::Directory,
            _ => return Err(Malformed::Unknown),
        },
        connect_ms: cursor.u32()?,
        total_ms: cursor.u32()?,
        request_max: cursor.u32()?,
        answer_max: cursor.u32()?,
        outstanding: cursor.u16()?,
        described: described(cursor)?,
        directory: directory(cursor)?,
    };
    let authorities = cursor.u8()?;
    let headers = cursor.list(HEADERS_MAX, |cursor| {
        let (name, value) = (cursor.text(HEADER_BYTES_MAX)?, cursor.text(HEADER_BYTES_MAX)?);
        Ok(Header { name, value: Arc::new(SecretString::new(value)) })
    })?;
    let password = optional(cursor, HEADER_BYTES_MAX)?.map(|text| Arc::new(SecretString::new(text)));
    Ok(OutwardSource { facts, authorities, headers, password })
}
