//! A load generator: it opens many connections, publishes by a schedule or in a closed loop, and says what was delivered,
//! how late, and what it cost the broker.
//!
//! [`Options`] are what was asked, [`Plan`] is what was checked. Never here: the command line, the terminal, files.

mod arrivals;
mod fault;
mod link;
mod options;
mod process;
mod schedule;
mod shape;
mod stamp;
mod timer;

pub use fault::Fault;
pub use options::{
    CLIENTS_MAX, CONNECT_RATE_MAX, CONNECTIONS_MAX, IN_FLIGHT_MAX, Options, OptionsError, Plan, RATE_MAX,
    SECONDS_MAX, SIZE_MAX, THREADS_MAX, TOPICS_MAX,
};
pub use shape::Shape;
