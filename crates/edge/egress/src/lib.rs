//! The process that connects out: HTTP and LDAP to the sources that a configuration names, and to nothing else.
//!
//! It holds no key of the server and keeps nothing. The supervisor tells it addresses, credentials, authorities and time
//! limits; the core asks by number. It takes what either says, and above all what a network answers, for hostile: bounded
//! in time, in length and in number. Redirections are not followed and no proxy of the environment is used.

mod directory;
mod discovery;
mod request;
mod service;
mod source;
mod timed;

pub use discovery::{DOCUMENT_BYTES_MAX, keys_address};
pub use service::serve_outward;
