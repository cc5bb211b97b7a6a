//! `motte acl`: why a policy permits what it does, and what it permits at all. Only `apply` asks a running broker.

mod advise;
mod apply;
mod blast;
mod diff;
mod explain;
mod lint;
mod prove;
mod replaced;
mod source;
mod test;
mod unified;

use std::process::ExitCode;

use motte_access::analysis::{Topics, Way};
use serde_json::{Value, json};

use crate::cli::{AclAction, AclArgs};
use crate::verb::answer::{Answer, finish, plural};

/// Something is permitted that was not.
const WIDENED: u8 = 3;

/// Answers, and says by the exit code what came of it.
pub(crate) fn run(args: &AclArgs) -> ExitCode {
    let answered = match &args.action {
        AclAction::Explain(args) => explain::run(args),
        AclAction::Lint(args) => lint::run(args),
        AclAction::Prove(args) => prove::run(args),
        AclAction::Blast(args) => blast::run(args),
        AclAction::Diff(args) => diff::run(args),
        AclAction::Test(args) => test::run(args),
        AclAction::Advise(args) => advise::run(args),
        AclAction::Apply(args) => apply::run(args),
    };
    finish(answered)
}

/// A line with a key in a column of its own.
fn line(key: &str, value: impl std::fmt::Display) -> String {
    format!("  {key:<11} {value}\n")
}

/// The heading of a way in lists.
fn heading(way: Way) -> &'static str {
    match way {
        Way::Publish => "publish",
        Way::Retain => "publish with RETAIN",
        Way::Will => "leave a Will",
        Way::Subscribe => "subscribe",
        Way::Share => "share a subscription",
        Way::Receive => "receive",
    }
}

fn topics_json(topics: &Topics) -> Value {
    json!({ "topics": topics.set, "example": topics.example })
}

/// Whether two lists of topics say the same.
fn is_same(a: &[Topics], b: &[Topics]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.set == b.set)
}

/// Topics in aligned columns, each with its example.
fn table(indent: &str, topics: &[Topics]) -> String {
    /// Wider columns are not aligned.
    const WIDTH_MAX: usize = 56;
    let width = topics.iter().map(|one| one.set.chars().count()).filter(|width| *width <= WIDTH_MAX).max();
    let width = width.unwrap_or(0);
    let row = |one: &Topics| {
        if one.set == one.example {
            format!("{indent}{}\n", one.set)
        } else {
            format!("{indent}{:<width$}  such as {}\n", one.set, one.example)
        }
    };
    topics.iter().map(row).collect()
}
