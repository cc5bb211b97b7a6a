//! The process that connects out, served in a thread, against small servers of HTTP on loopback.

mod http;
mod requests;
