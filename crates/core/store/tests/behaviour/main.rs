//! The journal on a simulated disk: against an independent model, on disks that fail, and with each byte changed.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod damage;
mod disk_faults;
mod model;
mod plain;
mod transfer;
mod workload;
