//! The standard's statements, from the wire. Each test names the statements that it proves.
#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "tests make packets of their own size, and fail by panicking"
)]

mod connect;
mod flow;
mod publish;
mod rest;
mod retained;
mod session;
mod shared;
mod sizes;
mod strict;
mod subscribe;
mod websocket;
mod will;
