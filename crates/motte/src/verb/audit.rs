//! `motte audit`: looks at the host that a broker runs on. It changes nothing and asks nobody.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::Offset;
use motte_audit::{Audit, Check, Fact, Finding, Host, Report};
use motte_event::escaped;
use serde_json::{Value, json};

use crate::cli::{AuditAction, AuditArgs, HostAuditArgs};
use crate::verb::Fault;
use crate::verb::answer::{Answer, finish};
use crate::verb::findings::{self, Reported};

/// Looks, and says by the exit code what came of it.
pub(crate) fn run(args: &AuditArgs) -> ExitCode {
    finish(match &args.action {
        AuditAction::List { json } => Ok(list(*json)),
        AuditAction::HostOpenssl(args) => look(Audit::HostOpenssl, args),
    })
}

fn list(as_json: bool) -> Answer {
    if as_json {
        let one = |audit: &Audit| json!({ "audit": audit.id(), "meaning": audit.meaning() });
        return Answer::json(&Audit::ALL.iter().map(one).collect(), true);
    }
    let line = |audit: &Audit| format!("{:<14} {}\n", audit.id(), audit.meaning());
    Answer::new(Audit::ALL.iter().map(line).collect(), true)
}

fn look(audit: Audit, args: &HostAuditArgs) -> Result<Answer, Fault> {
    let host = Host::at(&args.root);
    let today = Offset::UTC.to_datetime(Timestamp::now()).date();
    let Report { facts, findings: found } =
        audit.run(&host, today).map_err(|error| Fault::new(error.to_string()))?;
    let found: Vec<Reported> = found.into_iter().map(reported).collect();
    let is_good = findings::is_good(&found, args.fail_on);
    Ok(if args.sarif {
        let rules = Check::ALL.map(|check| (check.id(), check.meaning()));
        let tool = format!("motte audit {}", audit.id());
        Answer::json(&findings::sarif(&tool, &rules, &found), is_good)
    } else if args.json {
        let facts: Vec<Value> = facts.iter().map(fact_json).collect();
        let value = json!({ "audit": audit.id(), "facts": facts, "findings": findings::json(&found) });
        Answer::json(&value, is_good)
    } else {
        let facts: String = facts.iter().map(fact_text).collect();
        Answer::new(format!("{facts}\n{}", findings::text(&found)), is_good)
    })
}

fn reported(finding: Finding) -> Reported {
    Reported {
        check: finding.check.id(),
        severity: finding.severity,
        file: finding.file,
        line: finding.line,
        role: None,
        what: finding.what,
        remedy: finding.remedy,
        details: finding.details,
    }
}

fn fact_json(fact: &Fact) -> Value {
    let values: serde_json::Map<String, Value> =
        fact.values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "subject": fact.subject, "values": values })
}

fn fact_text(fact: &Fact) -> String {
    let value = |(name, value): &(&str, String)| format!("  {name:<15} {}\n", escaped(value));
    format!("{}\n{}", escaped(&fact.subject), fact.values.iter().map(value).collect::<String>())
}
