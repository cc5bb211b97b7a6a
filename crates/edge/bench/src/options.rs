//! What was asked, and what of it was checked.

use std::net::SocketAddr;
use std::time::Duration;

use motte_wire::{ProtocolVersion, QoS, TopicRef};

use crate::schedule::SECOND_NS;
use crate::shape::Shape;
use crate::stamp::{STAMP_BYTES, STREAMS_MAX};

/// Publishers, and subscribers, of one run.
pub const CLIENTS_MAX: u32 = 20_000;
/// Connections of the shape `idle`.
pub const CONNECTIONS_MAX: u32 = 200_000;
/// Topics of each publisher.
pub const TOPICS_MAX: u32 = 1_000;
/// Bytes of a payload.
pub const SIZE_MAX: u32 = 16 * 1024 * 1024;
/// Messages a second in all.
pub const RATE_MAX: u32 = 10_000_000;
/// Connections a second in all.
pub const CONNECT_RATE_MAX: u32 = 100_000;
/// Messages of one publisher, or handshakes in all, on their way at once.
pub const IN_FLIGHT_MAX: u32 = 10_000;
/// Threads of the generator.
pub const THREADS_MAX: u32 = 64;
/// Messages, or connections, of a run that ends with a count.
pub const COUNT_MAX: u64 = 1_000_000_000_000;
/// Seconds of a run.
pub const SECONDS_MAX: u64 = 86_400;
/// Streams that all subscribers together keep account of: 32 bytes each.
const ACCOUNTS_MAX: u64 = 8_000_000;

/// What was asked. `None` is the shape's own default.
#[derive(Debug, Clone)]
pub struct Options {
    /// The shape of the load.
    pub shape: Shape,
    /// Publishers, 1 to [`CLIENTS_MAX`].
    pub publishers: Option<u32>,
    /// Subscribers, 1 to [`CLIENTS_MAX`].
    pub subscribers: Option<u32>,
    /// Connections of the shape `idle`, 1 to [`CONNECTIONS_MAX`].
    pub connections: Option<u32>,
    /// Topics of each publisher, 1 to [`TOPICS_MAX`].
    pub topics: u32,
    /// First levels of all topics.
    pub prefix: String,
    /// QoS of publications and subscriptions.
    pub qos: QoS,
    /// Bytes of a payload, 16 to [`SIZE_MAX`].
    pub size: u32,
    /// Messages a second in all, 1 to [`RATE_MAX`]; `None`: as many as `in_flight` permits.
    pub rate: Option<u32>,
    /// Connections a second in all, 1 to [`CONNECT_RATE_MAX`]; `None`: as many as `in_flight` permits.
    pub connect_rate: Option<u32>,
    /// Messages of one publisher (or handshakes in all, for the shape `connect`) on their way at once, without a rate; 1
    /// to [`IN_FLIGHT_MAX`].
    pub in_flight: Option<u32>,
    /// End after so many messages in all (or connections, for the shape `connect`) instead of after a time, and measure
    /// from the first one on; 1 to [`COUNT_MAX`].
    pub count: Option<u64>,
    /// How long is measured, above 0 and up to [`SECONDS_MAX`].
    pub measured: Duration,
    /// How long messages flow before that, up to [`SECONDS_MAX`].
    pub warmup: Duration,
    /// Threads, 1 to [`THREADS_MAX`].
    pub threads: u32,
    /// MQTT 3.1.1 or 5.
    pub protocol: ProtocolVersion,
    /// Process of the broker, on this machine.
    pub pid: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shape: Shape::Pairs,
            publishers: None,
            subscribers: None,
            connections: None,
            topics: 1,
            prefix: "motte-bench".into(),
            qos: QoS::AtMostOnce,
            size: 64,
            rate: None,
            connect_rate: None,
            in_flight: None,
            count: None,
            measured: Duration::from_secs(10),
            warmup: Duration::from_secs(2),
            threads: 1,
            protocol: ProtocolVersion::V5,
            pid: None,
        }
    }
}

/// Why options cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A number outside its bounds.
    #[error("{option} {value} is outside its bounds\n  remedy: give a number from {min} to {max}")]
    Bounds {
        /// The option.
        option: &'static str,
        /// What was given.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// An option that this shape has no use for.
    #[error("the shape `{shape}` has no use for {option}\n  remedy: {remedy}")]
    Useless {
        /// The option.
        option: &'static str,
        /// The shape.
        shape: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Pairs that are none.
    #[error(
        "pairs of {publishers} publishers and {subscribers} subscribers\n  remedy: give the same number of both, or only --publishers"
    )]
    Unpaired {
        /// Publishers.
        publishers: u32,
        /// Subscribers.
        subscribers: u32,
    },
    /// A fan-in that fans out.
    #[error(
        "a fan-in of {publishers} publishers to {subscribers} subscribers\n  remedy: give at least as many publishers as subscribers, or --shape fan-out"
    )]
    FanInTurned {
        /// Publishers.
        publishers: u32,
        /// Subscribers.
        subscribers: u32,
    },
    /// Too much to keep account of.
    #[error(
        "publishers, subscribers and topics multiply to {accounts} streams to account for, above {max}\n  remedy: give fewer of one of them"
    )]
    Accounts {
        /// Streams times the subscribers that get them.
        accounts: u64,
        /// The most.
        max: u64,
    },
    /// A prefix that is no topic.
    #[error(
        "`{0}` cannot begin a Topic Name\n  remedy: give --prefix levels without `+`, `#` and an empty end, such as `devices/NAME/bench`"
    )]
    Prefix(String),
    /// A time outside its bounds.
    #[error(
        "--{option} is outside its bounds\n  remedy: give seconds from {min} to 86400; fractions are permitted"
    )]
    Time {
        /// The option.
        option: &'static str,
        /// The least.
        min: &'static str,
    },
    /// A version that is not spoken here.
    #[error("the bench speaks MQTT 3.1.1 and 5\n  remedy: give --protocol 5 or --protocol 3.1.1")]
    Protocol,
}

/// Options that were checked, with every default filled in. Made by [`Options::check`] only.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) options: Options,
    pub(crate) publishers: u64,
    pub(crate) subscribers: u64,
    pub(crate) connections: u64,
    pub(crate) in_flight: u64,
}

impl Options {
    /// Checks bounds and fills in what the shape says.
    ///
    /// # Errors
    /// [`OptionsError`] with the option and the remedy.
    pub fn check(self) -> Result<Plan, OptionsError> {
        let shape = self.shape;
        let (publishers, subscribers, connections) = match shape {
            Shape::Pairs => {
                let publishers = self.publishers.or(self.subscribers).unwrap_or(10);
                (publishers, self.subscribers.unwrap_or(publishers), 0)
            }
            Shape::FanIn => (self.publishers.unwrap_or(50), self.subscribers.unwrap_or(1), 0),
            Shape::FanOut => (self.publishers.unwrap_or(1), self.subscribers.unwrap_or(100), 0),
            Shape::Mixed => (self.publishers.unwrap_or(10), self.subscribers.unwrap_or(20), 0),
            Shape::Connect => (0, 0, 0),
            Shape::Idle => (0, 0, self.connections.unwrap_or(1_000)),
        };
        self.check_uses()?;
        if shape.has_messages() {
            bounds("--publishers", publishers, 1, CLIENTS_MAX)?;
            bounds("--subscribers", subscribers, 1, CLIENTS_MAX)?;
            if shape == Shape::Pairs && publishers != subscribers {
                return Err(OptionsError::Unpaired { publishers, subscribers });
            }
            if shape == Shape::FanIn && publishers < subscribers {
                return Err(OptionsError::FanInTurned { publishers, subscribers });
            }
        }
        if shape == Shape::Idle {
            bounds("--connections", connections, 1, CONNECTIONS_MAX)?;
        }
        let in_flight = self.in_flight.unwrap_or(if shape == Shape::Connect { 16 } else { 64 });
        bounds("--in-flight", in_flight, 1, IN_FLIGHT_MAX)?;
        self.check_numbers()?;
        let plan = Plan {
            options: self,
            publishers: publishers.into(),
            subscribers: subscribers.into(),
            connections: connections.into(),
            in_flight: in_flight.into(),
        };
        plan.check_accounts()?;
        Ok(plan)
    }

    fn check_numbers(&self) -> Result<(), OptionsError> {
        bounds("--topics", self.topics, 1, TOPICS_MAX)?;
        bounds("--size", self.size, u32::try_from(STAMP_BYTES).unwrap_or(16), SIZE_MAX)?;
        bounds("--rate", self.rate.unwrap_or(1), 1, RATE_MAX)?;
        bounds("--connect-rate", self.connect_rate.unwrap_or(1), 1, CONNECT_RATE_MAX)?;
        bounds("--threads", self.threads, 1, THREADS_MAX)?;
        let count = if self.shape == Shape::Connect { "--connect" } else { "--messages" };
        bounds(count, self.count.unwrap_or(1), 1, COUNT_MAX)?;
        let most = Duration::from_secs(SECONDS_MAX);
        if self.measured.is_zero() || self.measured > most {
            return Err(OptionsError::Time { option: "seconds", min: "a little more than 0" });
        }
        if self.warmup > most {
            return Err(OptionsError::Time { option: "warmup", min: "0" });
        }
        if self.protocol == ProtocolVersion::V31 {
            return Err(OptionsError::Protocol);
        }
        // Room for what is appended to it.
        let good = self.prefix.len() <= 1_024 && !self.prefix.ends_with('/');
        if !good || TopicRef::parse(&self.prefix).is_err() {
            return Err(OptionsError::Prefix(self.prefix.clone()));
        }
        Ok(())
    }

    fn check_uses(&self) -> Result<(), OptionsError> {
        let shape = self.shape;
        let useless = |given: bool, option, remedy| {
            if given { Err(OptionsError::Useless { option, shape: shape.name(), remedy }) } else { Ok(()) }
        };
        if !shape.has_messages() {
            let remedy = "leave it out, or choose pairs, fan-in, fan-out or mixed with --shape";
            useless(self.publishers.is_some(), "--publishers", remedy)?;
            useless(self.subscribers.is_some(), "--subscribers", remedy)?;
            useless(self.rate.is_some(), "--rate", "leave it out; connections are paced by --connect-rate")?;
        }
        if shape == Shape::Idle {
            useless(self.count.is_some(), "--messages", "leave it out, or give --connections")?;
        } else {
            useless(self.connections.is_some(), "--connections", "leave it out, or choose --shape idle")?;
        }
        Ok(())
    }
}

impl Plan {
    /// The options as they were given.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Connections that are open at once, at most.
    pub fn sockets(&self) -> u64 {
        match self.options.shape {
            Shape::Connect if self.options.connect_rate.is_some() => self.visitors_max(),
            Shape::Connect => self.in_flight,
            _ => self.publishers + self.subscribers + self.connections,
        }
    }

    /// Handshakes under way at once, at most, where a rate says when they begin.
    pub(crate) fn visitors_max(&self) -> u64 {
        self.in_flight.max(4_096)
    }

    /// How long messages flow before they are measured, in nanoseconds. What is counted is measured from the first on.
    pub(crate) fn warmup_ns(&self) -> u64 {
        if self.options.count.is_some() { 0 } else { nanoseconds(self.options.warmup) }
    }

    /// How long is measured at most, in nanoseconds.
    pub(crate) fn measured_ns(&self) -> u64 {
        if self.options.count.is_some() {
            SECONDS_MAX * SECOND_NS
        } else {
            nanoseconds(self.options.measured)
        }
    }

    /// How much of the count is for one of `sharers`, who take turns; all there is without a count.
    pub(crate) fn quota(&self, sharer: u64, sharers: u64) -> u64 {
        self.options.count.map_or(u64::MAX, |count| count.saturating_sub(sharer).div_ceil(sharers.max(1)))
    }

    /// Never more than the publishers and subscribers need: accounts of streams take memory.
    fn check_accounts(&self) -> Result<(), OptionsError> {
        let streams = self.publishers * u64::from(self.options.topics);
        let each = match self.options.shape {
            Shape::FanOut => self.subscribers,
            Shape::Mixed => 1 + self.subscribers.div_ceil(10),
            Shape::Pairs | Shape::FanIn | Shape::Connect | Shape::Idle => 1,
        };
        if streams >= STREAMS_MAX {
            return Err(OptionsError::Accounts { accounts: streams, max: STREAMS_MAX - 1 });
        }
        if streams * each > ACCOUNTS_MAX {
            return Err(OptionsError::Accounts { accounts: streams * each, max: ACCOUNTS_MAX });
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(SECOND_NS).saturating_add(u64::from(time.subsec_nanos()))
}

fn bounds<N: Into<u64>>(option: &'static str, value: N, min: N, max: N) -> Result<(), OptionsError> {
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) { Ok(()) } else { Err(OptionsError::Bounds { option, value, min, max }) }
}

/// The addresses of a target, checked: each is of this machine, or the user said that the target is theirs.
///
/// # Errors
/// The first address that is not of this machine.
pub(crate) fn own(addresses: &[SocketAddr], said_so: bool) -> Result<(), SocketAddr> {
    let foreign = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    match foreign {
        Some(address) if !said_so => Err(*address),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::default();
        change(&mut options);
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn every_shape_has_defaults_that_pass() {
        for shape in [Shape::Pairs, Shape::FanIn, Shape::FanOut, Shape::Mixed, Shape::Connect, Shape::Idle] {
            let plan = Options { shape, ..Options::default() }.check().unwrap();
            assert!(plan.sockets() > 0, "{shape:?}");
        }
    }

    #[test]
    fn numbers_outside_their_bounds_are_named_with_the_bounds() {
        assert!(refused(|o| o.publishers = Some(0)).contains("--publishers 0"));
        assert!(refused(|o| o.subscribers = Some(20_001)).contains("from 1 to 20000"));
        assert!(refused(|o| o.size = 15).contains("from 16 to 16777216"));
        assert!(refused(|o| o.topics = 1_001).contains("--topics"));
        assert!(refused(|o| o.rate = Some(0)).contains("--rate"));
        assert!(refused(|o| o.connect_rate = Some(200_000)).contains("--connect-rate"));
        assert!(refused(|o| o.in_flight = Some(0)).contains("--in-flight"));
        assert!(refused(|o| o.threads = 65).contains("--threads"));
        assert!(refused(|o| o.count = Some(0)).contains("--messages"));
        assert!(refused(|o| (o.shape, o.count) = (Shape::Connect, Some(0))).contains("--connect"));
        assert!(refused(|o| o.measured = Duration::ZERO).contains("--seconds"));
        assert!(refused(|o| o.warmup = Duration::from_secs(SECONDS_MAX + 1)).contains("--warmup"));
        let many = |o: &mut Options| (o.shape, o.connections) = (Shape::Idle, Some(CONNECTIONS_MAX + 1));
        assert!(refused(many).contains("--connections"));
    }

    #[test]
    fn options_that_do_not_fit_together_are_refused() {
        assert!(refused(|o| (o.publishers, o.subscribers) = (Some(2), Some(3))).contains("same number"));
        let turned =
            |o: &mut Options| (o.shape, o.publishers, o.subscribers) = (Shape::FanIn, Some(1), Some(2));
        assert!(refused(turned).contains("--shape fan-out"));
        assert!(refused(|o| (o.shape, o.rate) = (Shape::Connect, Some(5))).contains("no use for --rate"));
        assert!(refused(|o| o.connections = Some(5)).contains("--shape idle"));
        assert!(refused(|o| (o.shape, o.count) = (Shape::Idle, Some(5))).contains("--connections"));
        let vast = |o: &mut Options| {
            (o.shape, o.publishers, o.subscribers, o.topics) =
                (Shape::FanOut, Some(1_000), Some(1_000), 1_000);
        };
        assert!(refused(vast).contains("streams"));
        assert!(refused(|o| o.protocol = ProtocolVersion::V31).contains("3.1.1"));
        for prefix in ["", "a/#", "a/+/b", "a/"] {
            assert!(refused(|o| o.prefix = prefix.into()).contains("--prefix"), "{prefix}");
        }
    }

    #[test]
    fn a_count_is_shared_to_the_last_message() {
        for (count, sharers) in [(1, 1), (1, 10), (10, 3), (1_000_003, 7)] {
            let plan = Options { count: Some(count), ..Options::default() }.check().unwrap();
            let shares: Vec<u64> = (0..sharers).map(|sharer| plan.quota(sharer, sharers)).collect();
            assert_eq!(shares.iter().sum::<u64>(), count, "{shares:?}");
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
        assert_eq!(Options::default().check().unwrap().quota(0, 10), u64::MAX);
    }

    #[test]
    fn a_target_elsewhere_has_to_be_claimed() {
        let [near, mapped, far] =
            ["127.9.9.9:1", "[::ffff:127.0.0.1]:1", "192.0.2.1:1"].map(|text| text.parse().unwrap());
        assert_eq!(own(&[near, mapped], false), Ok(()));
        assert_eq!(own(&[near, far], false), Err(far));
        assert_eq!(own(&[near, far], true), Ok(()));
    }
}
