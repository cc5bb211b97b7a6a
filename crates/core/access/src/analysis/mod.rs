//! The analyzer: what a policy means, for everybody, exactly.
//!
//! Topic Filters are small regular languages, so questions about them can be decided without search. What is left are the
//! values of placeholders and the circumstances of a connection. For both a finite number is enough: a decision asks of a
//! value only whether a level made with it equals another one, and of a connection only whether conditions of rules hold.
//! So everybody who has to be looked at is written down (`population`), the rights of each are a set of topics (`rights`,
//! `topic_set`), and those sets are compared. The rules that bear on somebody are found by the code that decides in the
//! broker, so the analyzer cannot mean another policy than the one that is in force.

mod advise;
mod assertions;
mod blast;
mod diff;
mod effect;
mod lint;
mod population;
mod prove;
mod registered;
mod rights;
mod statement;
mod topic_set;
mod trace;
mod values;
mod world;

pub use advise::{Advice, Advised, Evidence, Proposal, advise};
pub use assertions::{Assertion, assertions};
pub use blast::{Blast, Topics};
pub use diff::{Change, Difference, diff};
pub use lint::{Check, Finding, Severity};
pub use population::{TooMany, Who};
pub use prove::{CounterExample, Proof, Undecided, Verdict};
pub use rights::Way;
pub use statement::{Statement, StatementError, Whom};
pub use topic_set::{TopicPiece, TopicSet};
pub use trace::{Cited, Explained, Inquiry};
pub use world::{ANY_LISTENER, ListenerFacts, World};
