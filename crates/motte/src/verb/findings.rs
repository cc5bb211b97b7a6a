//! Findings, of a policy or of a host: for people, for programs, and as SARIF 2.1.0 for code scanning.

use motte_access::analysis::Severity;
use motte_event::escaped;
use serde_json::{Value, json};

use crate::cli::SeverityArg;
use crate::verb::answer::plural;

/// Single items that are written out for people; JSON has all of them.
const DETAILS_MAX: usize = 8;

/// A finding of any check.
pub(crate) struct Reported {
    /// The name of the check.
    pub(crate) check: &'static str,
    pub(crate) severity: Severity,
    pub(crate) file: String,
    /// From 1; 0 if it is about no line.
    pub(crate) line: usize,
    /// The role that it is about, in a policy; may be empty.
    pub(crate) role: Option<String>,
    pub(crate) what: String,
    pub(crate) remedy: String,
    /// The single items behind it.
    pub(crate) details: Vec<String>,
}

/// Whether no finding is as grave as what the caller does not accept.
pub(crate) fn is_good(findings: &[Reported], fail_on: SeverityArg) -> bool {
    let limit = match fail_on {
        SeverityArg::Note => Severity::Note,
        SeverityArg::Warning => Severity::Warning,
        SeverityArg::Error => Severity::Error,
        SeverityArg::Never => return true,
    };
    findings.iter().all(|finding| finding.severity < limit)
}

/// For programs.
pub(crate) fn json(findings: &[Reported]) -> Value {
    let one = |finding: &Reported| {
        let mut value = serde_json::Map::new();
        value.insert("check".to_owned(), json!(finding.check));
        value.insert("severity".to_owned(), json!(finding.severity.name()));
        value.insert("file".to_owned(), json!(finding.file));
        value.insert("line".to_owned(), json!(finding.line));
        value.insert("what".to_owned(), json!(finding.what));
        value.insert("remedy".to_owned(), json!(finding.remedy));
        value.extend(finding.role.iter().map(|role| ("role".to_owned(), json!(role))));
        if !finding.details.is_empty() {
            value.insert("details".to_owned(), json!(finding.details));
        }
        Value::Object(value)
    };
    findings.iter().map(one).collect()
}

/// For people.
pub(crate) fn text(findings: &[Reported]) -> String {
    let mut text = String::new();
    for finding in findings {
        let role = finding.role.as_ref().filter(|role| !role.is_empty());
        let role = role.map_or_else(String::new, |role| format!("  (role {role})"));
        let line = if finding.line == 0 { String::new() } else { format!(":{}", finding.line) };
        let (severity, file) = (finding.severity.name(), escaped(&finding.file));
        text.push_str(&format!("{severity:<8} {file}{line}  {}{role}\n", finding.check));
        text.push_str(&format!("  {}\n", escaped(&finding.what)));
        // One that stands alone is in the sentence already.
        if finding.details.len() > 1 {
            let shown = finding.details.iter().take(DETAILS_MAX);
            text.extend(shown.map(|detail| format!("    {}\n", escaped(detail))));
            let more = finding.details.len().saturating_sub(DETAILS_MAX);
            if more > 0 {
                text.push_str(&format!("    and {more} more, which --json lists\n"));
            }
        }
        text.push_str(&format!("  remedy: {}\n", escaped(&finding.remedy)));
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

/// For code scanning. `rules` are all checks of this tool, each with its meaning.
pub(crate) fn sarif(tool: &str, rules: &[(&'static str, &'static str)], findings: &[Reported]) -> Value {
    let described: Vec<Value> = rules
        .iter()
        .map(|(id, meaning)| json!({ "id": id, "shortDescription": { "text": meaning } }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": tool, "version": env!("CARGO_PKG_VERSION"), "rules": described } },
            "results": findings.iter().map(|finding| result(rules, finding)).collect::<Vec<_>>(),
        }],
    })
}

fn result(rules: &[(&'static str, &'static str)], finding: &Reported) -> Value {
    let level = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    json!({
        "ruleId": finding.check,
        "ruleIndex": rules.iter().position(|(id, _)| *id == finding.check),
        "level": level,
        "message": { "text": format!("{} Remedy: {}", finding.what, finding.remedy) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.file) },
            "region": { "startLine": finding.line.max(1) },
        } }],
    })
}

/// A path as a reference of a URI: what may not stand in one is written as `%XX`.
fn uri(path: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~');
    path.bytes()
        .map(|byte| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
