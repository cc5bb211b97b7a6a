//! What can be written behind `motte bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::CredentialArgs;

/// The shape of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeArg {
    /// Publisher n to subscriber n
    Pairs,
    /// Many publishers to few subscribers; each publisher has one subscriber
    FanIn,
    /// Few publishers to many subscribers; each subscriber gets everything
    FanOut,
    /// Subscribers by name, by `+` and by `#`, six to three to one
    Mixed,
    /// Connections made and ended; no messages
    Connect,
    /// Connections held; no messages
    Idle,
}

/// What stands below the options of `motte bench --help`.
const EXAMPLES: &str = "\
Examples:
  motte bench                                  ten pairs at QoS 0 for ten seconds, as fast as it goes
  motte bench --rate 5000 --qos 1              at 5,000 messages/s, latency from when each was due
  motte bench --shape fan-out --messages 1000  a thousand messages, each to a hundred subscribers
  motte bench --connect 5000 --pid 1234        5,000 handshakes, and what they cost the broker 1234
  motte bench --shape idle --connections 5000 --pid 1234
                                               the broker's memory for each idle connection
  motte bench --as device-1 --prefix devices/device-1/bench
                                               by TLS as an identity of `motte up`
  motte bench --json > a.json; motte bench --compare a.json b.json

Ctrl-C ends a run and prints what was measured until then. Load only what you own.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Host of the broker
    #[arg(long, short = 'H', default_value = "localhost")]
    pub(crate) host: String,
    /// Port; 8883 with TLS, 1883 without
    #[arg(long, short)]
    pub(crate) port: Option<u16>,
    /// Load a broker on another machine: only if nobody else depends on it
    #[arg(long)]
    pub(crate) i_own_this_target: bool,
    #[command(flatten)]
    pub(crate) credential: CredentialArgs,
    /// Protocol version: 3.1.1 or 5
    #[arg(long, short = 'V', default_value = "5")]
    pub(crate) protocol: String,
    /// Shape of the load
    #[arg(long, value_enum, default_value = "pairs")]
    pub(crate) shape: ShapeArg,
    /// Publishers [default: 10; fan-in 50, fan-out 1]
    #[arg(long)]
    pub(crate) publishers: Option<u32>,
    /// Subscribers [default: as many as publishers; fan-in 1, fan-out 100, mixed 20]
    #[arg(long)]
    pub(crate) subscribers: Option<u32>,
    /// Connections of the shape `idle` [default: 1000]
    #[arg(long)]
    pub(crate) connections: Option<u32>,
    /// Topics of each publisher
    #[arg(long, default_value_t = 1)]
    pub(crate) topics: u32,
    /// First levels of all topics; the identity needs `publish` and `subscribe` below them
    #[arg(long, default_value = "motte-bench")]
    pub(crate) prefix: String,
    /// QoS of publications and subscriptions
    #[arg(long, short, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Bytes of a payload, at least 16
    #[arg(long, default_value_t = 64)]
    pub(crate) size: u32,
    /// Messages a second in all; without it, as many as --in-flight permits
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// Connections a second in all; without it, as many as can be made
    #[arg(long)]
    pub(crate) connect_rate: Option<u32>,
    /// Messages of one publisher on their way at once, without --rate; for the shape `connect`, handshakes in all
    /// [default: 64; connect 16]
    #[arg(long, conflicts_with = "rate")]
    pub(crate) in_flight: Option<u32>,
    /// Publish so many messages in all, instead of for a time, and wait until all have come
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "warmup"])]
    pub(crate) messages: Option<u64>,
    /// Make and end so many connections, no messages: the shape `connect` with a number instead of a time
    #[arg(long, value_name = "N", conflicts_with_all = ["shape", "messages", "seconds", "warmup"])]
    pub(crate) connect: Option<u64>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Seconds before that, which are not
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: u32,
    /// Process of the broker, on this machine: its CPU time and memory are measured
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Write the result as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not show progress
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Compare two results that were written with --json, and load nothing
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], exclusive = true)]
    pub(crate) compare: Vec<PathBuf>,
}
