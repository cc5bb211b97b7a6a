//! Whether a library is vulnerable, by the table: by its version, or by the revision of its package where somebody mends it
//! without changing the version.

use super::debian::DebianVersion;
use super::table::{Cve, Suite, Table};
use super::version::Version;

/// Who answers for a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Maker<'t> {
    /// Whoever built it from OpenSSL's source: its version says everything.
    Upstream,
    /// Debian, which mends without changing the version.
    Debian { revision: DebianVersion, suite: &'t Suite },
    /// Somebody of whom the table knows nothing, in words.
    Unknown(String),
}

/// What is known of a library.
#[derive(Debug)]
pub(crate) struct Judgement<'t> {
    /// What it has, gravest first, and what mends each.
    pub(crate) vulnerable: Vec<(&'t Cve, String)>,
    /// What a library of this version has that nobody mended, without it being known whether somebody did.
    pub(crate) unknown: Vec<&'t Cve>,
}

/// Judges.
pub(crate) fn judge<'t>(table: &'t Table, version: &Version, maker: &Maker<'_>) -> Judgement<'t> {
    let mut judgement = Judgement { vulnerable: Vec::new(), unknown: Vec::new() };
    for (cve, mended) in table.of(version) {
        match maker {
            Maker::Upstream => judgement.vulnerable.push((cve, mended.to_string())),
            Maker::Unknown(_) => judgement.unknown.push(cve),
            Maker::Debian { revision, suite } => match cve.debian.get(&suite.name) {
                Some(fixed) if revision >= fixed => {}
                Some(fixed) => judgement.vulnerable.push((cve, fixed.as_str().to_owned())),
                None => judgement.unknown.push(cve),
            },
        }
    }
    judgement
}
