//! Topic Names, Topic Filters and Share Names: parsing, matching and set algebra.
//!
//! This crate owns the text grammar of section 4.7 and 4.8 of MQTT 3.1.1 and 5.0, the one matching rule that
//! every other crate relies on, two tries ([`FilterSet`], [`NameSet`]) and the algebra over filters that a
//! policy is judged with. It never sees a packet, a principal, a clock or a file.
//!
//! A name or filter is parsed once; afterwards it is a type, and no function here can fail on it. All walks
//! are loops: a topic of 65,535 slashes neither overflows the stack nor, when matched, allocates per level.

mod algebra;
mod edges;
mod error;
mod filter;
mod filter_set;
mod limits;
mod meet;
mod name;
mod name_set;
mod share;
mod stack;

pub use algebra::{Difference, contains, equivalent, intersects, subtract, uncovered};
pub use error::TopicError;
pub use filter::TopicFilter;
pub use filter_set::{FilterSet, FilterSetIter};
pub use limits::TopicLimits;
pub use meet::meet;
pub use name::{TopicName, TopicRef};
pub use name_set::{NameSet, NameSetIter};
pub use share::{ShareName, SubscriptionFilter};

/// The longest Topic Name or Topic Filter in bytes: what a UTF-8 Encoded String can carry (MQTT-4.7.3-3).
pub const TOPIC_BYTES_MAX: usize = 65_535;
