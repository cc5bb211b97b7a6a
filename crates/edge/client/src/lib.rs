//! A small blocking MQTT client for tools and tests: 3.1.1 and 5.0, all QoS, one connection, no reconnecting.

mod client;
mod options;
mod received;

pub use client::{Client, ClientFault};
pub use options::{ConnectOptions, OutMessage, WillOptions};
pub use received::{Accepted, Incoming, Message};
