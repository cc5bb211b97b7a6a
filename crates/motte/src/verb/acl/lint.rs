//! `motte acl lint`: faults of a policy, for people, for programs and for code scanning.

use motte_access::analysis::{Check, Finding};
use serde_json::json;

use super::Answer;
use super::source::{self, Unreadable};
use crate::cli::AclLintArgs;
use crate::verb::Fault;
use crate::verb::findings::{self, Reported};

pub(super) fn run(args: &AclLintArgs) -> Result<Answer, Fault> {
    let found = match source::world(&args.source) {
        Ok(world) => world.lint().map_err(|error| Fault::new(error.to_string()))?,
        // A policy that cannot be read is a finding: of a role that does not exist, of a word that is none.
        Err(Unreadable::Policy(error)) => vec![Finding::from(error)],
        Err(Unreadable::Other(fault)) => return Err(fault),
    };
    let found: Vec<Reported> = found.into_iter().map(reported).collect();
    let is_good = findings::is_good(&found, args.fail_on);
    Ok(if args.sarif {
        let rules = Check::ALL.iter().map(|check| (check.id(), check.meaning())).collect::<Vec<_>>();
        Answer::json(&findings::sarif("motte acl lint", &rules, &found), is_good)
    } else if args.source.json {
        Answer::json(&json!({ "findings": findings::json(&found) }), is_good)
    } else {
        Answer::new(findings::text(&found), is_good)
    })
}

pub(super) fn reported(finding: Finding) -> Reported {
    Reported {
        check: finding.check.id(),
        severity: finding.severity,
        file: finding.file,
        line: finding.line,
        role: Some(finding.role),
        what: finding.what,
        remedy: finding.remedy,
        details: Vec::new(),
    }
}
