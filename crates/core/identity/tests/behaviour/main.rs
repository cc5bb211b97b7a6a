//! Login attempts over time: properties, and a simulation of attackers beside healthy devices.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attempts;
mod siege;
