//! The least policy that would still have permitted what was used: rules to drop, rights to take out, filters to narrow.
//!
//! Rules that deny stay as they are. A rule is judged only when it was watched over the whole time that is asked about. What it
//! becomes is put together from shapes that lie within it, so the result permits nothing more; whoever applies it proves that
//! once more with [`crate::analysis::diff`].

use std::collections::BTreeMap;

use toml::Spanned;

use crate::action::{Action, Actions};
use crate::error::{PolicyError, place};
use crate::reader::syntax_error;
use crate::template::Template;
use crate::usage::{RuleName, UsageKey, UsageRecord, covers, fold};
use crate::written::{PolicyFile, RuleWritten};

/// Most filters that one filter becomes.
const NARROWED_MAX: usize = 4;

/// What is proposed for a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// It was not used at all.
    Drop,
    /// Only these rights on these topics were used; each with its topics, in words of a policy.
    Narrow(Vec<(Vec<String>, Vec<String>)>),
    /// It was not watched over the whole time.
    NotJudged {
        /// Since when, in seconds since 1970; `None`: never.
        watched_since_s: Option<u64>,
    },
}

/// A proposal with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advised {
    /// Line of the rule, from 1.
    pub line: usize,
    /// Its role.
    pub role: String,
    /// What it says, a line for each topic.
    pub says: Vec<String>,
    /// What is proposed.
    pub proposal: Proposal,
    /// What was used of it: right, shape, how often, last when and by whom.
    pub evidence: Vec<Evidence>,
}

/// A use of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The right.
    pub action: &'static str,
    /// The shape of the topic or filter.
    pub shape: String,
    /// How often.
    pub count: u64,
    /// Last, in seconds since 1970.
    pub last_s: u64,
    /// An identity that did it.
    pub who: String,
}

/// Proposals for one file, and the file as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The proposals, in the order of the file.
    pub advised: Vec<Advised>,
    /// The file's text with them.
    pub text: String,
}

/// Advises on one policy file, from what was used since `from_s`.
///
/// # Errors
/// The file is not valid.
pub fn advise(text: &str, file: &str, record: &UsageRecord, from_s: u64) -> Result<Advice, PolicyError> {
    let written: PolicyFile = toml::from_str(text).map_err(|error| syntax_error(file, text, &error))?;
    let mut used: BTreeMap<&RuleName, Vec<(&UsageKey, Evidence)>> = BTreeMap::new();
    for (key, usage) in record.entries().filter(|(key, usage)| !key.quarantined && usage.last_s >= from_s) {
        let evidence = Evidence {
            action: key.action.name(),
            shape: key.shape.clone(),
            count: usage.count,
            last_s: usage.last_s,
            who: usage.who.clone(),
        };
        used.entry(&key.rule).or_default().push((key, evidence));
    }
    let mut advice = Advice { advised: Vec::new(), text: text.to_owned() };
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    for (role, body) in &written.role {
        for rule in body.rules.iter().filter(|rule| rule.get_ref().allow.is_some()) {
            let judged = Judged { text, role: role.get_ref(), rule, record, from_s, used: &used };
            let Some((advised, edit)) = judged.advise() else { continue };
            advice.advised.push(advised);
            edits.extend(edit);
        }
    }
    advice.advised.sort_by_key(|one| one.line);
    edits.sort_by_key(|(from, ..)| std::cmp::Reverse(*from));
    for (from, to, with) in edits {
        advice.text.replace_range(from..to, &with);
    }
    Ok(advice)
}

/// A rule while it is judged.
struct Judged<'a> {
    text: &'a str,
    role: &'a str,
    rule: &'a Spanned<RuleWritten>,
    record: &'a UsageRecord,
    from_s: u64,
    used: &'a BTreeMap<&'a RuleName, Vec<(&'a UsageKey, Evidence)>>,
}

/// A change of the text: from, to, and what stands there then.
type Edit = (usize, usize, String);

impl Judged<'_> {
    fn advise(&self) -> Option<(Advised, Option<Edit>)> {
        let body = self.rule.get_ref();
        let words = body.allow.as_deref()?;
        let actions: Vec<Actions> =
            words.iter().map(|word| Actions::allowed_by(word.get_ref())).collect::<Option<_>>()?;
        let all = actions.iter().fold(Actions::default(), |all, one| all.union(*one));
        let names: Vec<RuleName> = body
            .topics
            .iter()
            .map(|topic| {
                let topic = Template::parse(topic.get_ref()).ok()?;
                let words = format!("allow {} on {topic}", all.words());
                Some(RuleName { role: self.role.to_owned(), words })
            })
            .collect::<Option<_>>()?;
        let evidence =
            names.iter().filter_map(|name| self.used.get(name)).flatten().map(|(_, one)| one.clone());
        let advised = |proposal| Advised {
            line: place(self.text, self.rule.span().start).0,
            role: self.role.to_owned(),
            says: names.iter().map(|name| name.words.clone()).collect(),
            proposal,
            evidence: evidence.clone().collect(),
        };
        let since = names
            .iter()
            .map(|name| self.record.watched_since(name))
            .max_by_key(|since| since.unwrap_or(u64::MAX));
        let since = since.flatten();
        if since.is_none_or(|since| since > self.from_s) {
            return Some((advised(Proposal::NotJudged { watched_since_s: since }), None));
        }
        let parts = self.parts(words, &names);
        let before: Vec<&str> = body.topics.iter().map(|topic| topic.get_ref().as_str()).collect();
        if let [(kept, topics)] = parts.as_slice()
            && kept.len() == words.len()
            && *topics == before
        {
            return None;
        }
        let edit = self.edit(&parts);
        let proposal = if parts.is_empty() { Proposal::Drop } else { Proposal::Narrow(parts) };
        edit.map(|edit| (advised(proposal), Some(edit)))
    }

    /// Words that have the same topics left, and those topics.
    fn parts(&self, words: &[Spanned<String>], names: &[RuleName]) -> Vec<(Vec<String>, Vec<String>)> {
        let mut parts: Vec<(Vec<String>, Vec<String>)> = Vec::new();
        for word in words {
            let mut topics: Vec<String> = Vec::new();
            for (topic, name) in self.rule.get_ref().topics.iter().zip(names) {
                for one in self.needed(word.get_ref(), topic.get_ref(), name) {
                    if !topics.contains(&one) {
                        topics.push(one);
                    }
                }
            }
            if topics.is_empty() {
                continue;
            }
            match parts.iter_mut().find(|(_, known)| *known == topics) {
                Some((words, _)) => words.push(word.get_ref().clone()),
                None => parts.push((vec![word.get_ref().clone()], topics)),
            }
        }
        parts
    }

    /// The filters within one topic of the rule that a word was used for.
    fn needed(&self, word: &str, topic: &str, name: &RuleName) -> Vec<String> {
        let rights: &[Action] = match word {
            "publish" => &[Action::Publish, Action::SetWill],
            "retain" => &[Action::Retain],
            "will" => &[Action::SetWill],
            "subscribe" => &[Action::Subscribe, Action::Receive],
            "share" => &[Action::Share, Action::Receive],
            "receive" => &[Action::Receive],
            // Nothing records it.
            _ => return vec![topic.to_owned()],
        };
        let used = self.used.get(name).into_iter().flatten();
        let mut shapes: Vec<String> =
            used.filter(|(key, _)| rights.contains(&key.action)).map(|(key, _)| key.shape.clone()).collect();
        // Somebody who receives and never shared did it by a plain subscription.
        let is_led = |action| self.used.get(name).into_iter().flatten().any(|(key, _)| key.action == action);
        if word == "share" && !is_led(Action::Share) && is_led(Action::Subscribe) {
            return Vec::new();
        }
        least(&mut shapes);
        let mut shapes = if shapes.len() > NARROWED_MAX {
            let mut folded = fold(&shapes, NARROWED_MAX);
            least(&mut folded);
            folded
        } else {
            shapes
        };
        // What cannot be written, or reaches beyond the topic, is the topic itself.
        let is_within = |shape: &String| covers(topic, shape) && Template::parse(shape).is_ok();
        if !shapes.iter().all(is_within) || shapes.iter().any(|shape| covers(shape, topic)) {
            shapes = vec![topic.to_owned()];
        }
        shapes
    }

    /// The rule with other words and topics, once for each part; nothing where its text is not one inline table.
    fn edit(&self, parts: &[(Vec<String>, Vec<String>)]) -> Option<Edit> {
        let span = self.rule.span();
        let own = self.text.get(span.clone())?;
        if !own.starts_with('{') {
            return None;
        }
        let body = self.rule.get_ref();
        let list = |all: &[Spanned<String>]| Some((all.first()?.span().start, all.last()?.span().end));
        let (words, topics) = (list(body.allow.as_deref()?)?, list(&body.topics)?);
        let quoted = |all: &[String]| {
            all.iter().map(|one| toml::Value::String(one.clone()).to_string()).collect::<Vec<_>>().join(", ")
        };
        let mut written = Vec::new();
        for (kept, left) in parts {
            let mut changes = [(words, quoted(kept)), (topics, quoted(left))];
            changes.sort_by_key(|((from, _), _)| std::cmp::Reverse(*from));
            let mut rule = own.to_owned();
            for ((from, to), with) in changes {
                rule.replace_range(from.checked_sub(span.start)?..to.checked_sub(span.start)?, &with);
            }
            written.push(rule);
        }
        let indent: String = {
            let line = self.text.get(..span.start)?.rsplit('\n').next()?;
            line.chars().take_while(|c| c.is_whitespace()).collect()
        };
        if !written.is_empty() {
            return Some((span.start, span.end, written.join(&format!(",\n{indent}"))));
        }
        let (from, to) = without(self.text, span.start, span.end);
        Some((from, to, String::new()))
    }
}

/// Leaves out what others cover.
fn least(shapes: &mut Vec<String>) {
    shapes.sort();
    shapes.dedup();
    let all = shapes.clone();
    shapes.retain(|one| !all.iter().any(|other| other != one && covers(other, one)));
}

/// What is taken out with a rule: its comma, and its line when nothing else stands there.
fn without(text: &str, from: usize, to: usize) -> (usize, usize) {
    let after = text.get(to..).unwrap_or_default();
    let comma = after
        .find(|c: char| !c.is_whitespace())
        .filter(|at| after.get(*at..).is_some_and(|rest| rest.starts_with(',')));
    let to = comma.map_or(to, |at| to + at + 1);
    let before = text.get(..from).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let is_alone = text.get(line..from).is_some_and(|start| start.trim().is_empty());
    let rest = text.get(to..).unwrap_or_default();
    match rest.find('\n') {
        Some(end)
            if is_alone
                && rest
                    .get(..end)
                    .is_some_and(|rest| rest.trim().is_empty() || rest.trim().starts_with('#')) =>
        {
            (line, to + end + 1)
        }
        _ => (from, to),
    }
}
