//! The catalogue: every security event and every refusal, declared once with its id, severity, fields, meaning and remedy,
//! and emitted through a typed constructor.
//!
//! Secrets cannot be a [`Value`]; text from clients is escaped and cut, so that it can neither forge a line nor fill a disk.
//! Never here: clocks, sinks.

pub mod catalogue;
mod event;
mod explain;
mod text;

pub use catalogue::{device, gate, keep, life, rule, vault};
pub use event::{Event, EventSpec, FieldSpec, Severity, Value};
pub use explain::{all, explain, find, nearest};
pub use text::escaped;
