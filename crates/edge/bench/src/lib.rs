//! A load generator: it opens many connections, publishes by a schedule or in a closed loop, and says what was delivered,
//! how late, and what it cost the broker.
//!
//! [`Options`] are what was asked, [`Plan`] is what was checked, [`run`] makes an [`Outcome`], and [`report`] and
//! [`compare`] put outcomes into words. Never here: the command line, the terminal, files.

mod arrivals;
mod schedule;
mod shape;
mod stamp;

pub use shape::Shape;
