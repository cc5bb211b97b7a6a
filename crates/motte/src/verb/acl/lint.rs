//! `motte acl lint`: faults of a policy, for people, for programs and for code scanning.

use motte_access::analysis::{Finding, Severity};
use serde_json::{Value, json};

use super::source::{self, Unreadable};
use super::{Answer, plural, sarif};
use crate::cli::{AclLintArgs, SeverityArg};
use crate::verb::Fault;

pub(super) fn run(args: &AclLintArgs) -> Result<Answer, Fault> {
    let findings = match source::world(&args.source) {
        Ok(world) => world.lint().map_err(|error| Fault::new(error.to_string()))?,
        // A policy that cannot be read is a finding: of a role that does not exist, of a word that is none.
        Err(Unreadable::Policy(error)) => vec![Finding::from(error)],
        Err(Unreadable::Other(fault)) => return Err(fault),
    };
    let limit = match args.fail_on {
        SeverityArg::Note => Some(Severity::Note),
        SeverityArg::Warning => Some(Severity::Warning),
        SeverityArg::Error => Some(Severity::Error),
        SeverityArg::Never => None,
    };
    let is_good = limit.is_none_or(|limit| findings.iter().all(|finding| finding.severity < limit));
    Ok(if args.sarif {
        Answer::json(&sarif::document(&findings), is_good)
    } else if args.source.json {
        Answer::json(&json!({ "findings": findings.iter().map(finding_json).collect::<Vec<_>>() }), is_good)
    } else {
        Answer::new(text(&findings), is_good)
    })
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "check": finding.check.id(),
        "severity": finding.severity.name(),
        "file": finding.file,
        "line": finding.line,
        "role": finding.role,
        "what": finding.what,
        "remedy": finding.remedy,
    })
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let role = if finding.role.is_empty() { String::new() } else { format!("  (role {})", finding.role) };
        text.push_str(&format!(
            "{:<8} {}:{}  {}{role}\n  {}\n  remedy: {}\n",
            finding.severity.name(),
            finding.file,
            finding.line,
            finding.check.id(),
            finding.what,
            finding.remedy
        ));
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    if findings.is_empty() {
        text.push_str("no findings\n");
    } else {
        let counts = [Severity::Error, Severity::Warning, Severity::Note]
            .map(|severity| plural(count(severity), severity.name()));
        text.push_str(&format!("{}: {}\n", plural(findings.len(), "finding"), counts.join(", ")));
    }
    text
}
