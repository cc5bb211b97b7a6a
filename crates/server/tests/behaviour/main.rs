//! The process from outside: a server in this test's process, clients that write bytes.

mod harness;
mod limits;
mod messages;
mod reload;
mod restart;
