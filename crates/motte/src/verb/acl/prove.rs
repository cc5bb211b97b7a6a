//! `motte acl prove`: a statement holds for everybody, or somebody is shown for whom it does not.

use motte_access::analysis::{CounterExample, Proof, Statement, Verdict, Who};
use serde_json::{Value, json};

use super::{Answer, line, source};
use crate::cli::AclProveArgs;
use crate::verb::Fault;

pub(super) fn run(args: &AclProveArgs) -> Result<Answer, Fault> {
    let statement = Statement::parse(&args.statement).map_err(|error| Fault::new(error.to_string()))?;
    let world = source::world(&args.source)?;
    let verdict = world.prove(&statement).map_err(|error| Fault::new(error.to_string()))?;
    let is_proved = matches!(verdict, Verdict::Proved(_));
    if args.source.json {
        return Ok(Answer::json(&verdict_json(&statement, &verdict), is_proved));
    }
    let text = match &verdict {
        Verdict::Proved(proof) => format!("PROVED  {statement}\n{}", proof_text(proof)),
        Verdict::Refuted(counter) => format!("REFUTED  {statement}\n{}", counter_text(counter)),
    };
    Ok(Answer::new(text, is_proved))
}

fn proof_text(proof: &Proof) -> String {
    let mut text = match proof.about.as_slice() {
        [] => line("about", "nobody: no client can be one of those"),
        [one] => line("about", one),
        [one, two] => line("about", format!("{one}, {two}")),
        [one, two, rest @ ..] => line("about", format!("{one}, {two} and {} more", rest.len())),
    };
    for assumption in &proof.assumptions {
        text.push_str(&line("supposing", format!("{assumption} (--any-certificate supposes nothing)")));
    }
    text
}

pub(super) fn counter_text(counter: &CounterExample) -> String {
    let mut text = String::new();
    if !counter.identity.is_empty() {
        text.push_str(&line("who", &counter.who));
        if !matches!(&counter.who, Who::Identity { name, .. } if *name == counter.identity) {
            text.push_str(&line("such as", &counter.identity));
        }
    }
    for (key, value) in &counter.circumstances {
        text.push_str(&line(key, value));
    }
    for (key, value) in [("filter", &counter.filter), ("topic", &counter.topic), ("rule", &counter.rule)] {
        text.push_str(&value.as_ref().map(|value| line(key, value)).unwrap_or_default());
    }
    text.push_str(&line("so", &counter.why));
    text
}

pub(super) fn verdict_json(statement: &Statement, verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Proved(proof) => json!({
            "statement": statement.to_string(),
            "proved": true,
            "about": proof.about.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "assumptions": proof.assumptions,
        }),
        Verdict::Refuted(counter) => {
            let circumstances: serde_json::Map<String, Value> = counter
                .circumstances
                .iter()
                .map(|(key, value)| ((*key).replace(' ', "_"), json!(value)))
                .collect();
            json!({
                "statement": statement.to_string(),
                "proved": false,
                "counter_example": {
                    "who": counter.who.to_string(),
                    "identity": counter.identity,
                    "circumstances": circumstances,
                    "filter": counter.filter,
                    "topic": counter.topic,
                    "rule": counter.rule,
                    "why": counter.why,
                },
            })
        }
    }
}
