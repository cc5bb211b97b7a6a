//! The journal on a simulated disk: against an independent model, on disks that fail, and with each byte changed.

mod damage;
mod disk_faults;
mod model;
mod plain;
mod workload;
