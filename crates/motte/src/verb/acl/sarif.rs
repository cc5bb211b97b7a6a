//! Findings as SARIF 2.1.0, which code scanning reads.

use motte_access::analysis::{Check, Finding, Severity};
use serde_json::{Value, json};

/// The document.
pub(super) fn document(findings: &[Finding]) -> Value {
    let rules: Vec<Value> = Check::ALL
        .iter()
        .map(|check| json!({ "id": check.id(), "shortDescription": { "text": check.meaning() } }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "motte acl lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    json!({
        "ruleId": finding.check.id(),
        "ruleIndex": Check::ALL.iter().position(|check| *check == finding.check),
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
