//! `motte acl test`: assertions of the operator, offline.

use motte_access::analysis::{Verdict, assertions};
use serde_json::{Value, json};

use super::prove::{counter_text, verdict_json};
use super::{Answer, plural, source};
use crate::cli::AclTestArgs;
use crate::verb::Fault;
use crate::verb::connecting::read;

pub(super) fn run(args: &AclTestArgs) -> Result<Answer, Fault> {
    let file = args.file.display().to_string();
    let asserted = assertions(&read(&args.file)?, &file).map_err(|error| Fault::new(error.to_string()))?;
    let world = source::world(&args.source)?;
    let (mut text, mut results, mut failed) = (String::new(), Vec::<Value>::new(), 0_usize);
    for one in &asserted {
        let verdict = world.prove(&one.statement).map_err(|error| {
            Fault::new(format!("{file}:{}: `{}` was not decided: {error}", one.line, one.statement))
        })?;
        let mut result = verdict_json(&one.statement, &verdict);
        if let Some(fields) = result.as_object_mut() {
            fields.insert("line".into(), json!(one.line));
        }
        results.push(result);
        match &verdict {
            Verdict::Proved(_) => text.push_str(&format!("pass  {file}:{}  {}\n", one.line, one.statement)),
            Verdict::Refuted(counter) => {
                failed += 1;
                text.push_str(&format!("FAIL  {file}:{}  {}\n", one.line, one.statement));
                text.push_str(&counter_text(counter));
            }
        }
    }
    if args.source.json {
        let value = json!({ "file": file, "failed": failed, "passed": asserted.len() - failed, "assertions": results });
        return Ok(Answer::json(&value, failed == 0));
    }
    text.push_str(&format!("{}, {failed} failed\n", plural(asserted.len(), "assertion")));
    Ok(Answer::new(text, failed == 0))
}
