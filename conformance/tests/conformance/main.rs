//! The standard's statements, from the wire. Each test names the statements that it proves.
#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

mod connect;
mod flow;
mod publish;
mod retained;
mod session;
mod shared;
mod strict;
mod subscribe;
mod will;
