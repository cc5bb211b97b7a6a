//! What must be refused, byte by byte: one test for each rule, named after its statement in 5.0.

mod closing;
mod connect;
mod fixed_header;
mod properties;
mod publish;
mod subscribe;
mod texts;
