//! What can be written behind `motte acl`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{SocketArgs, StepUpArgs};

/// What stands below the options of `motte acl --help`.
const EXAMPLES: &str = "\
Examples:
  motte acl explain --as device-1 --publish devices/device-2/state
  motte acl lint --policy policy.toml --fail-on warning
  motte acl prove 'role:device cannot publish devices/# except devices/{identity}/#'
  motte acl blast device-1
  motte acl diff policy.toml policy.new.toml
  motte acl test assertions.toml
  motte acl advise --from motte-state/store/usage.record --since 14d
  motte acl apply policy.new.toml --as alice

The policy is that of motte-state, or of --config, or the files of --policy. Only `apply` asks a running broker.
Exit codes: 0 as wished, 1 not so (refuted, failed, findings, not permitted, not in force), 3 widened, 2 the question was not answered.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AclArgs {
    #[command(subcommand)]
    pub(crate) action: AclAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AclAction {
    /// Say whether a client may do something, by which rule, and which rule comes nearest to another answer
    Explain(Box<AclExplainArgs>),
    /// Look for rules that reach too far, decide nothing or contradict each other, and for roles nobody has
    Lint(AclLintArgs),
    /// Prove a statement for everybody, or find somebody for whom it does not hold
    Prove(AclProveArgs),
    /// List everything that a thief of a credential could read, write and trigger
    Blast(AclBlastArgs),
    /// List exactly what becomes permitted and what no longer is, for whom
    Diff(AclDiffArgs),
    /// Test a file of assertions
    Test(AclTestArgs),
    /// Propose the least policy that would still have permitted what was used, as a diff with its evidence
    Advise(AclAdviseArgs),
    /// Put a new policy in force on a running broker, once it is shown what it changes
    Apply(AclApplyArgs),
}

/// Which policy.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The configuration that names the policy, with the policies of its listeners
    #[arg(long, conflicts_with = "policy")]
    pub(crate) config: Option<PathBuf>,
    /// A policy file (may be repeated); every listener and every method is counted with
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// The state directory of `motte up`, when neither is given
    #[arg(long, default_value = "motte-state")]
    pub(crate) state: PathBuf,
    /// Count with any certificate in the hands of every identity, not only with those that are known
    #[arg(long)]
    pub(crate) any_certificate: bool,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AclExplainArgs {
    #[command(flatten)]
    pub(crate) source: PolicyArgs,
    /// The identity that asks; `anonymous` is a client of a listener that asks nobody
    #[arg(long = "as", value_name = "ID")]
    pub(crate) identity: String,
    /// A topic to publish to
    #[arg(long, value_name = "TOPIC", group = "what")]
    pub(crate) publish: Option<String>,
    /// A topic to publish to with RETAIN
    #[arg(long, value_name = "TOPIC", group = "what")]
    pub(crate) retain: Option<String>,
    /// A topic to leave a Will for
    #[arg(long, value_name = "TOPIC", group = "what")]
    pub(crate) will: Option<String>,
    /// A filter to subscribe with; `$share/NAME/FILTER` is a Shared Subscription
    #[arg(long, value_name = "FILTER", group = "what")]
    pub(crate) subscribe: Option<String>,
    /// A topic to receive
    #[arg(long, value_name = "TOPIC", group = "what", required_unless_present_any = ["publish", "retain", "will", "subscribe"])]
    pub(crate) receive: Option<String>,
    /// Its Client Identifier; without it, the identity
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// The listener it comes by; without it, the first one
    #[arg(long)]
    pub(crate) listener: Option<String>,
    /// A fact of its certificate: cn=NAME, ou=NAME or o=NAME (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) cert: Vec<String>,
    /// What proves the identity; without it, the certificate if there is one, else a password
    #[arg(long, value_enum)]
    pub(crate) method: Option<MethodArg>,
    /// A role that its token grants (may be repeated)
    #[arg(long, value_name = "ROLE")]
    pub(crate) token_role: Vec<String>,
    /// What its token says of topics: publish=FILTER or subscribe=FILTER (may be repeated); outside of them it may do nothing
    #[arg(long, value_name = "KEY=FILTER")]
    pub(crate) token_topic: Vec<String>,
    /// The address it comes from
    #[arg(long)]
    pub(crate) from: Option<IpAddr>,
    /// QoS
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Bytes of the payload
    #[arg(long, default_value_t = 0)]
    pub(crate) bytes: usize,
}

/// A method of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// A certificate
    Certificate,
    /// A password
    Password,
    /// Both
    Both,
    /// A token
    Token,
    /// The word of a service
    Http,
}

/// The least severity that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeverityArg {
    /// Everything
    Note,
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
    /// Nothing
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct AclLintArgs {
    #[command(flatten)]
    pub(crate) source: PolicyArgs,
    /// Exit with 1 when there is a finding of this severity or above
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: SeverityArg,
    /// Write SARIF 2.1.0
    #[arg(long, conflicts_with = "json")]
    pub(crate) sarif: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AclProveArgs {
    #[command(flatten)]
    pub(crate) source: PolicyArgs,
    /// 'WHO can|cannot publish|retain|will|subscribe|receive FILTER [except FILTER …]'; WHO is role:NAME, identity:NAME,
    /// bridge:NAME, operator:NAME, anonymous or anybody
    pub(crate) statement: String,
}

#[derive(Debug, Args)]
pub(crate) struct AclBlastArgs {
    #[command(flatten)]
    pub(crate) source: PolicyArgs,
    /// The identity whose credential is lost
    pub(crate) identity: String,
}

#[derive(Debug, Args)]
pub(crate) struct AclDiffArgs {
    /// The old policy: a file, or a directory of policy files
    pub(crate) old: PathBuf,
    /// The new policy
    pub(crate) new: PathBuf,
    /// The configuration whose listeners count; without it, every listener and every method
    #[arg(long, conflicts_with = "configs")]
    pub(crate) config: Option<PathBuf>,
    /// OLD and NEW are configurations
    #[arg(long)]
    pub(crate) configs: bool,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AclTestArgs {
    #[command(flatten)]
    pub(crate) source: PolicyArgs,
    /// The assertions
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AclAdviseArgs {
    #[command(flatten)]
    pub(crate) source: PolicyArgs,
    /// What the broker recorded with `record = true` in [policy]: usage.record in its state directory
    #[arg(long, value_name = "RECORD")]
    pub(crate) from: PathBuf,
    /// Key file that opens the vault beside the record, where it is neither that of --config nor beside the state directory
    #[arg(long)]
    pub(crate) key_file: Option<PathBuf>,
    /// The time before the record's end in which something must have been used to be kept: 12h, 14d, 6w
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = seconds)]
    pub(crate) since: u64,
}

#[derive(Debug, Args)]
pub(crate) struct AclApplyArgs {
    /// The new policy: a file
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    /// The policy file that it takes the place of, where the broker has several
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) step_up: StepUpArgs,
    /// Do not ask whether that is meant
    #[arg(long)]
    pub(crate) yes: bool,
    /// Refuse a policy with a finding of `motte acl lint` of this severity or above
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: SeverityArg,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Hours, days or weeks in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [("h", 3_600), ("d", 86_400), ("w", 604_800)];
    let found = units.into_iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit)?.parse::<u64>().ok().filter(|count| *count > 0)?.checked_mul(seconds)
    });
    found.ok_or_else(|| "write hours, days or weeks: 12h, 14d, 6w".to_owned())
}
