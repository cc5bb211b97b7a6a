//! The shipped table of advisories: `data/openssl.toml`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::debian::DebianVersion;
use super::version::Version;

/// The table that is built in.
const SHIPPED: &str = include_str!("../../data/openssl.toml");
/// Days after its date on which the table counts as old. OpenSSL published on nine days of the year before the first table.
pub const OLD_AFTER_DAYS: i32 = 90;
/// Bytes of a table at most.
pub const TABLE_BYTES_MAX: usize = 1_024 * 1_024;

/// Known vulnerabilities, branches and suites.
#[derive(Debug, Clone)]
pub struct Table {
    /// What was published later is not in it.
    pub date: Date,
    /// Where it is from.
    pub source: String,
    /// The last day of support of each branch.
    pub branches: BTreeMap<String, Date>,
    /// Debian's suites.
    pub suites: Vec<Suite>,
    /// The vulnerabilities.
    pub cves: Vec<Cve>,
}

/// A suite of Debian.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its code name.
    pub name: String,
    /// Its number, as in `deb12`.
    pub number: u32,
    /// The last day of its support.
    #[serde(deserialize_with = "day")]
    pub ends: Date,
}

/// A vulnerability.
#[derive(Debug, Clone)]
pub struct Cve {
    /// Its identifier.
    pub id: String,
    /// How grave OpenSSL says it is.
    pub grade: Grade,
    /// The day of the advisory.
    pub published: Date,
    /// First affected and first mended version, for each branch.
    pub affected: Vec<(Version, Version)>,
    /// The package revision that mends it, by suite.
    pub debian: BTreeMap<String, DebianVersion>,
}

/// How grave a vulnerability is, in OpenSSL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Low.
    Low,
    /// Moderate.
    Moderate,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Grade {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is longer than a table may be.
    #[error("it is longer than {TABLE_BYTES_MAX} bytes")]
    TooLong,
    /// It is not written as a table.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// An entry does not say what an entry must.
    #[error("{entry}: {what}")]
    Entry {
        /// Which one.
        entry: String,
        /// What is wrong.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "day")]
    date: Date,
    source: String,
    branch: Vec<WrittenBranch>,
    suite: Vec<Suite>,
    cve: Vec<WrittenCve>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBranch {
    name: String,
    #[serde(deserialize_with = "day")]
    ends: Date,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCve {
    id: String,
    severity: Grade,
    #[serde(deserialize_with = "day")]
    published: Date,
    affected: Vec<String>,
    #[serde(default)]
    debian: BTreeMap<String, String>,
}

impl Table {
    /// The one that is built in.
    ///
    /// # Errors
    ///
    /// It is not as it should be; a test of this crate says so first.
    pub fn shipped() -> Result<Self, TableError> {
        Self::parse(SHIPPED)
    }

    /// Reads a table.
    ///
    /// # Errors
    ///
    /// It is too long, not TOML of this form, or an entry contradicts itself: a range that ends before it begins or leaves
    /// its branch, an identifier that stands twice, a suite that is not in the table, an advisory after the table's date.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        if text.len() > TABLE_BYTES_MAX {
            return Err(TableError::TooLong);
        }
        let written: Written = toml::from_str(text)?;
        let mut seen = BTreeSet::new();
        let mut cves = Vec::new();
        for cve in written.cve {
            let fault = |what: String| TableError::Entry { entry: cve.id.clone(), what };
            if !is_cve(&cve.id) || !seen.insert(cve.id.clone()) {
                return Err(fault("no identifier of a vulnerability, or one that stands twice".to_owned()));
            }
            if cve.published > written.date {
                return Err(fault(format!("published after the date of the table, {}", written.date)));
            }
            let ranges = cve.affected.iter().map(|text| {
                range(text).ok_or_else(|| fault(format!("`{text}` is no range of versions of one branch")))
            });
            let affected = ranges.collect::<Result<Vec<_>, _>>()?;
            let mut debian = BTreeMap::new();
            for (suite, text) in &cve.debian {
                let version =
                    DebianVersion::parse(text).filter(|_| written.suite.iter().any(|one| one.name == *suite));
                let version =
                    version.ok_or_else(|| fault(format!("`{suite}`, `{text}`: no suite or no revision")))?;
                debian.insert(suite.clone(), version);
            }
            cves.push(Cve { id: cve.id, grade: cve.severity, published: cve.published, affected, debian });
        }
        let branches = written.branch.into_iter().map(|branch| (branch.name, branch.ends)).collect();
        Ok(Self { date: written.date, source: written.source, branches, suites: written.suite, cves })
    }

    /// The vulnerabilities of a version as OpenSSL published it, gravest and newest first, each with the version that mends it.
    pub fn of<'t>(&'t self, version: &Version) -> Vec<(&'t Cve, &'t Version)> {
        let mended = |cve: &'t Cve| {
            let range = cve.affected.iter().find(|(first, mended)| first <= version && version < mended)?;
            Some((cve, &range.1))
        };
        let mut found: Vec<_> = self.cves.iter().filter_map(mended).collect();
        found.sort_by(|(a, _), (b, _)| (b.grade, b.published, &a.id).cmp(&(a.grade, a.published, &b.id)));
        found
    }

    /// Days since the date of the table; negative for one from the future.
    pub fn age_days(&self, today: Date) -> i32 {
        (today - self.date).get_days()
    }
}

/// A day, written as `2026-01-31`.
fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Date, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn is_cve(text: &str) -> bool {
    let Some((year, number)) = text.strip_prefix("CVE-").and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    year.len() == 4 && (4..=8).contains(&number.len()) && is_number(year) && is_number(number)
}

fn range(text: &str) -> Option<(Version, Version)> {
    let (first, mended) = text.split_once("..")?;
    let (first, mended) = (Version::parse(first)?, Version::parse(mended)?);
    (first < mended && first.branch() == mended.branch()).then_some((first, mended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_whole() {
        let table = Table::shipped().unwrap();
        assert!(table.cves.len() > 100, "{}", table.cves.len());
        for cve in &table.cves {
            assert!(!cve.affected.is_empty(), "{}", cve.id);
            for (first, mended) in &cve.affected {
                assert!(table.branches.contains_key(&first.branch()), "{}: {mended}", cve.id);
            }
        }
        let ids = |version: &str| -> Vec<String> {
            let version = Version::parse(version).unwrap();
            table.of(&version).iter().map(|(cve, _)| cve.id.clone()).collect()
        };
        assert!(ids("1.0.1f").contains(&"CVE-2014-0160".to_owned()));
        assert!(!ids("1.0.1g").contains(&"CVE-2014-0160".to_owned()));
        assert!(ids("3.0.6").contains(&"CVE-2022-3602".to_owned()));
        assert!(!ids("3.0.7").contains(&"CVE-2022-3602".to_owned()));
    }

    #[test]
    fn contradictions_are_refused() {
        let with = |cve: &str| {
            Table::parse(&format!(
                "date = \"2026-01-01\"\nsource = \"s\"\nbranch = []\nsuite = [{{ name = \"bookworm\", number = 12, ends = \"2028-06-30\" }}]\ncve = [{cve}]\n"
            ))
        };
        let row = |id: &str, day: &str, range: &str, debian: &str| {
            format!(
                "{{ id = \"{id}\", severity = \"low\", published = \"{day}\", affected = [\"{range}\"], debian = {{ {debian} }} }}"
            )
        };
        let good = row("CVE-2025-0001", "2025-01-01", "3.0.0..3.0.9", "bookworm = \"3.0.9-1\"");
        assert!(with(&good).is_ok());
        for bad in [
            row("CVE-25-1", "2025-01-01", "3.0.0..3.0.9", ""),
            row("CVE-2025-0001", "2026-01-02", "3.0.0..3.0.9", ""),
            row("CVE-2025-0001", "2025-01-01", "3.0.9..3.0.0", ""),
            row("CVE-2025-0001", "2025-01-01", "3.0.0..3.1.0", ""),
            row("CVE-2025-0001", "2025-01-01", "3.0.0", ""),
            row("CVE-2025-0001", "2025-01-01", "3.0.0..3.0.9", "sid = \"3.0.9-1\""),
            row("CVE-2025-0001", "2025-01-01", "3.0.0..3.0.9", "bookworm = \"\""),
            format!("{good}, {good}"),
        ] {
            assert!(with(&bad).is_err(), "{bad}");
        }
    }
}
