//! The journal on real files: killed in the middle of its work, committed for many, and read by nobody without the key.

mod canary;
mod group_commit;
mod kill;
