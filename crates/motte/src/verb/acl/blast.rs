//! `motte acl blast`: what a thief of a credential could do.

use motte_access::analysis::{Blast, Way};
use serde_json::{Value, json};

use super::{Answer, heading, is_same, source, table, topics_json};
use crate::cli::AclBlastArgs;
use crate::verb::Fault;

pub(super) fn run(args: &AclBlastArgs) -> Result<Answer, Fault> {
    let world = source::world(&args.source)?;
    let blast = world.blast(&args.identity).map_err(|error| Fault::new(error.to_string()))?;
    if !blast.found {
        let what = format!("no listener lets `{}` in with a credential", args.identity);
        return Err(Fault::with_remedy(what, "check the name, and `methods` of the listeners"));
    }
    let value = || {
        let may: serde_json::Map<String, Value> = blast
            .may
            .iter()
            .map(|(way, topics)| (way.name().to_owned(), topics.iter().map(topics_json).collect()))
            .collect();
        let triggers: Vec<Value> = blast
            .triggers
            .iter()
            .map(|(who, topics)| json!({ "who": who.to_string(), "topics": topics.iter().map(topics_json).collect::<Vec<_>>() }))
            .collect();
        json!({ "identity": args.identity, "client_ids": blast.client_ids, "assumptions": blast.assumptions, "may": may, "triggers": triggers })
    };
    Ok(if args.source.json {
        Answer::json(&value(), true)
    } else {
        Answer::new(text(&args.identity, &blast), true)
    })
}

fn text(identity: &str, blast: &Blast) -> String {
    let mut text = format!("who has the credential of {identity}\n");
    text.push_str(&format!("  connects as {}\n", blast.client_ids.join(", ")));
    for assumption in &blast.assumptions {
        text.push_str(&format!("  supposing that {assumption}\n"));
    }
    let of =
        |wanted: Way| blast.may.iter().find(|(way, _)| *way == wanted).map(|(_, topics)| topics.as_slice());
    if blast.may.is_empty() {
        text.push_str("  may nothing\n");
    }
    let read = of(Way::Subscribe);
    for (way, topics) in &blast.may {
        // What comes by every subscription is said once.
        let is_told = match way {
            Way::Receive | Way::Share => read.is_some_and(|read| is_same(read, topics)),
            Way::Will | Way::Retain => of(Way::Publish).is_some_and(|written| is_same(written, topics)),
            Way::Publish | Way::Subscribe => false,
        };
        if is_told {
            continue;
        }
        let same = |other: Way| of(other).is_some_and(|others| is_same(others, topics));
        let mut heads = vec![heading(*way)];
        if *way == Way::Publish {
            heads.extend([Way::Retain, Way::Will].into_iter().filter(|other| same(*other)).map(heading));
        }
        if *way == Way::Subscribe && same(Way::Share) {
            heads.push(heading(Way::Share));
        }
        text.push_str(&format!("may {}\n{}", heads.join(", "), table("  ", topics)));
    }
    if !blast.triggers.is_empty() {
        text.push_str("reaches, when they subscribe as they may\n");
        for (who, topics) in &blast.triggers {
            text.push_str(&format!("  {who}\n{}", table("    ", topics)));
        }
    }
    text
}
