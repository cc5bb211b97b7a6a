//! `host.openssl`: OpenSSL's libraries on a host, which Motte itself does not use.
//!
//! A version is read from the library's own bytes. What it means is said by [`table`], and by the package's revision where a
//! distributor mends libraries without changing their version: such a library is never called vulnerable for its version.

pub mod conf;
mod conf_rules;
pub mod debian;
pub mod dpkg;
mod judge;
mod library;
mod maker;
pub mod processes;
pub mod table;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use motte_access::analysis::Severity;

use crate::finding::{Check, Fact, Finding, Report};
use crate::tree::{Tree, merged, shown};
use crate::{AuditError, Host};
use judge::{Maker, judge};
use library::{Library, Search};
use maker::Makers;
use processes::{Process, Users};
use table::{Cve, Grade, OLD_AFTER_DAYS, Table};

/// Names that are written out in a sentence; the others are counted.
const NAMED_MAX: usize = 6;

/// Looks at the libraries, who uses them and how they are configured.
///
/// # Errors
///
/// The root cannot be opened, or the shipped table is not as it should be.
pub(crate) fn run(host: &Host, today: Date) -> Result<Report, AuditError> {
    let table = Table::shipped().map_err(AuditError::Table)?;
    run_with(&table, host, today)
}

/// As [`crate::Audit::run`], compared with this table.
///
/// # Errors
///
/// The root cannot be opened.
pub fn run_with(table: &Table, host: &Host, today: Date) -> Result<Report, AuditError> {
    let tree = host.tree()?;
    Ok(look(&tree, host.proc.as_deref(), table, today))
}

fn look(tree: &Tree, proc: Option<&Path>, table: &Table, today: Date) -> Report {
    let Search { libraries, unread } = library::search(tree);
    let mut report = Report::default();
    report.findings.extend(unread.iter().map(|(path, why)| incomplete(&shown(path), why)));
    let makers = Makers::read(tree, table, &libraries, &mut report.findings);
    let users = proc.map(|proc| users(proc, &mut report.findings)).unwrap_or_default();
    report.facts.push(about_table(table, today, &mut report.findings));
    for library in &libraries {
        report.facts.push(about(library, &makers, &users));
    }
    judge_all(table, &libraries, &makers, today, &mut report.findings);
    restarts(&users, &mut report.findings);
    let mut configurations = conf_rules::configurations(tree);
    report
        .facts
        .extend(configurations.files.iter().map(|file| Fact { subject: shown(file), values: Vec::new() }));
    report.findings.append(&mut configurations.findings);
    report
        .findings
        .sort_by(|a, b| (b.severity, a.check, &a.file, a.line).cmp(&(a.severity, b.check, &b.file, b.line)));
    report
}

fn incomplete(file: &str, why: &str) -> Finding {
    Finding {
        check: Check::Incomplete,
        severity: Severity::Warning,
        file: file.to_owned(),
        line: 0,
        what: format!("{file} was not looked at: {why}"),
        remedy: "run the audit as a user who may read it; look at what is behind a bound by --root"
            .to_owned(),
        details: Vec::new(),
    }
}

fn users(proc: &Path, findings: &mut Vec<Finding>) -> Users {
    let users = match processes::users(proc) {
        Ok(users) => users,
        Err(error) => {
            findings.push(incomplete(&proc.display().to_string(), &error.to_string()));
            return Users::default();
        }
    };
    if users.unread > 0 {
        findings.push(Finding {
            check: Check::Incomplete,
            severity: Severity::Note,
            file: proc.display().to_string(),
            line: 0,
            what: format!(
                "processes that could not be looked at: {}; which libraries they use is not known",
                users.unread
            ),
            remedy: "run the audit as the superuser, which may look at all of them".to_owned(),
            details: Vec::new(),
        });
    }
    if !users.elsewhere.is_empty() {
        findings.push(Finding {
            check: Check::Elsewhere,
            severity: Severity::Note,
            file: proc.display().to_string(),
            line: 0,
            what: format!(
                "processes with a root of their own use libraries of OpenSSL that lie there: {}",
                named(users.elsewhere.iter())
            ),
            remedy: "audit each with --root /proc/PID/root".to_owned(),
            details: users.elsewhere.iter().map(ToString::to_string).collect(),
        });
    }
    users
}

fn about_table(table: &Table, today: Date, findings: &mut Vec<Finding>) -> Fact {
    let age = table.age_days(today);
    if age > OLD_AFTER_DAYS {
        findings.push(Finding {
            check: Check::TableOld,
            severity: Severity::Warning,
            file: "/".to_owned(),
            line: 0,
            what: format!(
                "the table of advisories ends at {}, {age} days ago: vulnerabilities that were published later are not found",
                table.date
            ),
            remedy: format!("install a newer Motte; a table counts as old after {OLD_AFTER_DAYS} days"),
            details: Vec::new(),
        });
    }
    let values = vec![
        ("until", table.date.to_string()),
        ("vulnerabilities", table.cves.len().to_string()),
        ("source", table.source.clone()),
    ];
    Fact { subject: "table of advisories".to_owned(), values }
}

fn about(library: &Library, makers: &Makers<'_>, users: &Users) -> Fact {
    let mut values = Vec::new();
    match &library.banner {
        Some(banner) => {
            values.push(("version", banner.version.to_string()));
            values.push(("released", banner.released.to_string()));
        }
        None => values.push(("version", "not known".to_owned())),
    }
    if library.is_of_libcrypto {
        values.push(("told_by", "the libcrypto beside it".to_owned()));
    }
    if let Some(package) = makers.package(library) {
        values.push(("package", package.name.clone()));
        values.push(("revision", package.version.as_str().to_owned()));
    }
    let used = users.current.iter().filter(|(path, _)| merged(path) == merged(&library.path));
    let used: BTreeSet<&Process> = used.flat_map(|(_, processes)| processes).collect();
    if !used.is_empty() {
        values.push(("processes", used.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    Fact { subject: shown(&library.path), values }
}

/// Judges libraries that are the same together, so that each fault is told once.
fn judge_all(
    table: &Table,
    libraries: &[Library],
    makers: &Makers<'_>,
    today: Date,
    findings: &mut Vec<Finding>,
) {
    let mut groups: BTreeMap<String, Vec<&Library>> = BTreeMap::new();
    for library in libraries {
        match &library.banner {
            Some(banner) => {
                let package =
                    makers.package(library).map(|package| (&package.name, package.version.as_str()));
                let key = format!("{} {package:?} {:?}", banner.version, makers.maker(library));
                groups.entry(key).or_default().push(library);
            }
            None => findings.push(Finding {
                check: Check::UnknownVersion,
                severity: Severity::Warning,
                file: shown(&library.path),
                line: 0,
                what: format!(
                    "{} does not say its version: it is of another maker, changed, or not whole",
                    shown(&library.path)
                ),
                remedy: "find out where it is from, and replace it with a library of the distributor"
                    .to_owned(),
                details: Vec::new(),
            }),
        }
    }
    for group in groups.values() {
        let Some((library, banner)) = group.first().and_then(|one| Some((*one, one.banner.as_ref()?))) else {
            continue;
        };
        let maker = makers.maker(library);
        let group = Group { table, today, paths: group.iter().map(|one| &one.path).collect(), banner, maker };
        group.changed(makers.package(library), findings);
        group.vulnerable(findings);
        group.support(findings);
    }
}

/// Libraries of one version and one maker.
struct Group<'t> {
    table: &'t Table,
    today: Date,
    paths: Vec<&'t PathBuf>,
    banner: &'t version::Banner,
    maker: Maker<'t>,
}

impl Group<'_> {
    fn finding(
        &self,
        check: Check,
        severity: Severity,
        what: String,
        remedy: String,
        details: Vec<String>,
    ) -> Finding {
        let file = self.paths.first().map(|path| shown(path)).unwrap_or_default();
        Finding { check, severity, file, line: 0, what, remedy, details }
    }

    /// The paths, and what they are.
    fn subject(&self) -> String {
        let revision = match &self.maker {
            Maker::Debian { revision, .. } => format!(", revision {}", revision.as_str()),
            Maker::Upstream | Maker::Unknown(_) => String::new(),
        };
        let paths = named(self.paths.iter().map(|path| shown(path)));
        format!("{paths} (OpenSSL {} of {}{revision})", self.banner.version, self.banner.released)
    }

    fn changed(&self, package: Option<&dpkg::Package>, findings: &mut Vec<Finding>) {
        let Some(package) = package else { return };
        let expected = version::Version::parse(package.version.upstream());
        if expected.is_some_and(|expected| expected != self.banner.version) {
            let what = format!(
                "{} is not of its package, {} {}",
                self.subject(),
                package.name,
                package.version.as_str()
            );
            let remedy = format!("install the package again: apt-get install --reinstall {}", package.name);
            findings.push(self.finding(Check::Changed, Severity::Warning, what, remedy, Vec::new()));
        }
    }

    fn vulnerable(&self, findings: &mut Vec<Finding>) {
        let found = judge(self.table, &self.banner.version, &self.maker);
        if let Some((worst, mended)) = found.vulnerable.first() {
            let severity = match worst.grade {
                Grade::High | Grade::Critical => Severity::Error,
                Grade::Moderate => Severity::Warning,
                Grade::Low => Severity::Note,
            };
            let what = format!(
                "{} has {}; the gravest is {} ({}), advisory of {}, mended in {mended}",
                self.subject(),
                vulnerabilities(found.vulnerable.len()),
                worst.id,
                worst.grade.name(),
                worst.published
            );
            let details =
                found.vulnerable.iter().map(|(cve, mended)| format!("{}, mended in {mended}", told(cve)));
            findings.push(self.finding(Check::Vulnerable, severity, what, self.update(), details.collect()));
        }
        let is_known = self.table.branches.contains_key(&self.banner.version.branch());
        let (why, remedy) = match &self.maker {
            _ if !is_known => (
                "the table does not know its branch".to_owned(),
                "look at openssl-library.org, or install a newer Motte",
            ),
            Maker::Unknown(who) => {
                (format!("{who} mends without changing the version"), "ask the distributor's tracker")
            }
            Maker::Upstream | Maker::Debian { .. } => (
                "the table does not say whether Debian mended it".to_owned(),
                "look at security-tracker.debian.org/tracker/source-package/openssl",
            ),
        };
        if !found.unknown.is_empty() || !is_known {
            let count = if is_known {
                format!(" of {}", vulnerabilities(found.unknown.len()))
            } else {
                String::new()
            };
            let what = format!("{} cannot be judged{count} by its version: {why}", self.subject());
            let details = found.unknown.iter().map(|cve| told(cve)).collect();
            findings.push(self.finding(Check::NotJudged, Severity::Note, what, remedy.to_owned(), details));
        }
    }

    fn support(&self, findings: &mut Vec<Finding>) {
        let branch = self.banner.version.branch();
        let (what, ended) = match &self.maker {
            Maker::Debian { suite, .. } => {
                (format!("Debian {} ({})", suite.number, suite.name), Some(suite.ends))
            }
            Maker::Upstream => (format!("branch {branch}"), self.table.branches.get(&branch).copied()),
            // Distributors keep branches up for longer, and the table does not say until when.
            Maker::Unknown(_) => return,
        };
        if let Some(ended) = ended.filter(|ended| *ended < self.today) {
            let what = format!("{}: support of {what} ended on {ended}", self.subject());
            let remedy = "go to a branch or release that is kept up; 3.5 is until 2030-04-08".to_owned();
            findings.push(self.finding(Check::Unsupported, Severity::Warning, what, remedy, Vec::new()));
        }
    }

    fn update(&self) -> String {
        match &self.maker {
            Maker::Debian { .. } => {
                "install the security updates (apt-get update, apt-get upgrade), and restart what uses it"
                    .to_owned()
            }
            Maker::Upstream | Maker::Unknown(_) => {
                "update or remove it, with the program that brought it; restart what uses it".to_owned()
            }
        }
    }
}

fn restarts(users: &Users, findings: &mut Vec<Finding>) {
    for (path, processes) in &users.deleted {
        findings.push(Finding {
            check: Check::Restart,
            severity: Severity::Warning,
            file: shown(path),
            line: 0,
            what: format!(
                "{} was replaced or removed, and is still used by {}",
                shown(path),
                named(processes.iter())
            ),
            remedy: "restart them, or the machine: until then they run the old library".to_owned(),
            details: processes.iter().map(ToString::to_string).collect(),
        });
    }
}

fn told(cve: &Cve) -> String {
    format!("{} ({}), advisory of {}", cve.id, cve.grade.name(), cve.published)
}

fn vulnerabilities(count: usize) -> String {
    if count == 1 { "1 known vulnerability".to_owned() } else { format!("{count} known vulnerabilities") }
}

/// The first few, and how many there are beside.
fn named(items: impl ExactSizeIterator<Item: std::fmt::Display>) -> String {
    let more = items.len().saturating_sub(NAMED_MAX);
    let mut text = items.take(NAMED_MAX).map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
