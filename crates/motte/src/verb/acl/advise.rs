//! `motte acl advise`: from what was used, the least policy that would still have permitted it, as a diff.

use std::path::Path;

use motte_access::analysis::{Advised, Evidence, Proposal, advise, diff};
use motte_access::usage::UsageRecord;
use motte_seal::state_file::is_sealed;
use motte_server::kept_file::{USAGE, open_sealed};
use serde_json::{Value, json};

use super::source::{self, Texts};
use super::{Answer, unified};
use crate::cli::{AclAdviseArgs, KeptArgs};
use crate::verb::Fault;
use crate::verb::connecting::read;
use crate::verb::kept::Kept;

/// Most lines of evidence for one rule.
const EVIDENCE_MAX: usize = 8;
const DAY_S: u64 = 86_400;

pub(super) fn run(args: &AclAdviseArgs) -> Result<Answer, Fault> {
    let record = UsageRecord::decode(&recorded(args)?).map_err(|error| {
        let remedy =
            "name usage.record of the broker's state directory; a damaged one is begun anew by the broker";
        Fault::with_remedy(format!("{}: {error}", args.from.display()), remedy)
    })?;
    if record.lost > 0 {
        let what = format!("the record is incomplete: {} uses had no place in it", record.lost);
        let remedy = "what was not recorded would be taken away; narrow the widest rules by hand, remove the record and record anew";
        return Err(Fault::with_remedy(what, remedy));
    }
    let from_s = record.until_s.saturating_sub(args.since);
    let mut texts = Texts::new();
    let mut all: Vec<(String, Advised)> = Vec::new();
    let mut changes = String::new();
    for path in source::files(&args.source)? {
        let (text, name) = (read(&path)?, path.display().to_string());
        let advice = advise(&text, &name, &record, from_s).map_err(|error| Fault::new(error.to_string()))?;
        all.extend(advice.advised.into_iter().map(|one| (name.clone(), one)));
        changes.push_str(&unified::diff(&text, &advice.text, &name));
        texts.insert(path, advice.text);
    }
    prove(args, &texts)?;
    let days = args.since / DAY_S;
    let text = if args.source.json {
        let proposals: Vec<Value> = all.iter().map(|(file, one)| value(file, one)).collect();
        let value = json!({ "until": day(record.until_s), "since": day(from_s), "rules": proposals, "diff": changes });
        format!("{value}\n")
    } else {
        text(&all, &changes, &args.from, (from_s, record.until_s, days))
    };
    Ok(Answer::new(text, true))
}

/// The text of the record. A sealed one is opened with the vault beside it.
fn recorded(args: &AclAdviseArgs) -> Result<String, Fault> {
    let bytes = std::fs::read(&args.from)
        .map_err(|error| Fault::new(format!("cannot read {}: {error}", args.from.display())))?;
    if !is_sealed(&bytes) {
        return read(&args.from);
    }
    let state = args.from.parent().filter(|parent| !parent.as_os_str().is_empty());
    let kept = Kept::of(&KeptArgs {
        state: state.unwrap_or(Path::new(".")).to_owned(),
        config: args.source.config.clone(),
        key_file: args.key_file.clone(),
        recovery_file: None,
        json: false,
    })?;
    let opened = open_sealed(&kept.keys()?, USAGE, &bytes);
    let (_, text) = opened.map_err(|error| {
        let remedy = "name usage.record where the broker has it, in the state directory with its vault";
        Fault::with_remedy(format!("{}: {error}", args.from.display()), remedy)
    })?;
    String::from_utf8(text).map_err(|error| Fault::new(format!("{}: {error}", args.from.display())))
}

/// Proves that the new policy permits nothing that the present one does not.
fn prove(args: &AclAdviseArgs, texts: &Texts) -> Result<(), Fault> {
    let (old, new) = (source::world(&args.source)?, source::world_with(&args.source, texts)?);
    let change = diff(&old, &new).map_err(|error| {
        let remedy = "advise on one policy file at a time with --policy";
        Fault::with_remedy(format!("it could not be proved that nothing is widened: {error}"), remedy)
    })?;
    match change.widened.first() {
        None => Ok(()),
        Some(one) => {
            let what = format!("the advice would have widened {} on {}", one.way.name(), one.topics.set);
            Err(Fault::with_remedy(
                what,
                "this is a fault of motte: report it with the policy and the record",
            ))
        }
    }
}

fn text(
    all: &[(String, Advised)],
    changes: &str,
    from: &Path,
    (since_s, until_s, days): (u64, u64, u64),
) -> String {
    let mut text =
        format!("# what was used from {} to {}, by {}\n", day(since_s), day(until_s), from.display());
    let mut unjudged = 0;
    for (file, one) in all {
        let what = match &one.proposal {
            Proposal::Drop => format!("drop it: not used in {days} days"),
            Proposal::Narrow(_) => "narrow it to what was used:".to_owned(),
            Proposal::NotJudged { .. } => {
                unjudged += 1;
                continue;
            }
        };
        text.push_str(&format!("# {file}:{}  (role {})\n", one.line, one.role));
        one.says.iter().for_each(|says| text.push_str(&format!("#   {says}\n")));
        text.push_str(&format!("#   {what}\n"));
        let width = one.evidence.iter().map(|one| one.shape.chars().count()).max().unwrap_or(0);
        for used in one.evidence.iter().take(EVIDENCE_MAX) {
            let Evidence { action, shape, count, last_s, who } = used;
            let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
            text.push_str(&format!(
                "#     {action:<9} {shape:<width$}  {times}, last {} by {who}\n",
                day(*last_s)
            ));
        }
        if let Some(more) = one.evidence.len().checked_sub(EVIDENCE_MAX).filter(|more| *more > 0) {
            text.push_str(&format!("#     and {more} more\n"));
        }
    }
    if unjudged > 0 {
        text.push_str(&format!(
            "# not judged: {unjudged} of the rules were not watched over all of this time\n"
        ));
    }
    if changes.is_empty() {
        text.push_str("# nothing to change\n");
    } else {
        text.push_str("# proved: nothing is permitted by this that is not permitted today\n");
    }
    text + changes
}

fn value(file: &str, one: &Advised) -> Value {
    let (proposal, parts) = match &one.proposal {
        Proposal::Drop => ("drop", Vec::new()),
        Proposal::Narrow(parts) => ("narrow", parts.clone()),
        Proposal::NotJudged { .. } => ("not-judged", Vec::new()),
    };
    let evidence = one.evidence.iter().map(|used| {
        json!({
            "action": used.action,
            "shape": used.shape,
            "count": used.count,
            "last": day(used.last_s),
            "who": used.who,
        })
    });
    json!({
        "file": file,
        "line": one.line,
        "role": one.role,
        "rule": one.says,
        "proposal": proposal,
        "becomes": parts.iter().map(|(allow, topics)| json!({ "allow": allow, "topics": topics })).collect::<Vec<_>>(),
        "evidence": evidence.collect::<Vec<_>>(),
    })
}

/// A time in words.
fn day(at_s: u64) -> String {
    let at = i64::try_from(at_s).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    at.map_or_else(|| at_s.to_string(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}
