//! What must be refused, byte by byte: one test for each rule, named after its statement where one says it.

mod closing;
mod connect;
mod fixed_header;
mod properties;
mod publish;
mod subscribe;
mod texts;
