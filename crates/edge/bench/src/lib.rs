//! A load generator: it opens many connections, publishes by a schedule or in a closed loop, and says what was delivered,
//! how late, and what it cost the broker.
//!
//! [`Options`] are what was asked, [`Plan`] is what was checked, [`run()`] makes an [`Outcome`], and [`report()`] and
//! [`compare()`] put outcomes into words. Never here: the command line, the terminal, files.

mod arrivals;
mod compare;
mod connection;
mod fault;
mod histogram;
mod job;
mod link;
mod load;
mod opening;
mod options;
mod outcome;
mod process;
mod publisher;
mod report;
mod run;
mod schedule;
mod shape;
mod shared;
mod stamp;
mod tally;
mod timer;
mod words;
mod worker;

pub use compare::compare;
pub use fault::Fault;
pub use job::Target;
pub use options::{
    CLIENTS_MAX, CONNECT_RATE_MAX, CONNECTIONS_MAX, COUNT_MAX, IN_FLIGHT_MAX, Options, OptionsError, Plan,
    RATE_MAX, SECONDS_MAX, SIZE_MAX, THREADS_MAX, TOPICS_MAX,
};
pub use outcome::{BrokerUse, Bucket, Connections, GeneratorUse, Latency, Messages, Outcome, Settings};
pub use report::{progress, report};
pub use run::{Phase, Progress, run};
pub use shape::Shape;
