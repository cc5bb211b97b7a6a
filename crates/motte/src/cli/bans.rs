//! What can be written after `motte bans`.

use clap::{Args, Subcommand};

use super::{SocketArgs, StepUpArgs};

#[derive(Debug, Args)]
pub(crate) struct BansArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    #[command(subcommand)]
    pub(crate) action: BansAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BansAction {
    /// List bans, those that end first in front
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn somebody away for a time; live connections are closed
    Add {
        /// An address, a network (192.0.2.0/24), identity:NAME or client-id:ID
        subject: String,
        /// For how long: 90s, 30m, 12h or 7d, at most 30d
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = seconds)]
        for_s: u64,
        /// Why, for the list and the log
        #[arg(long, default_value = "by hand")]
        cause: String,
        #[command(flatten)]
        step_up: StepUpArgs,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Let somebody in again; of an address also the hold after failed logins is lifted
    Remove {
        /// As it stands in the list
        subject: String,
        #[command(flatten)]
        step_up: StepUpArgs,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the banned addresses as commands for nftables: sets with the time that is left
    Export {
        /// For `nft -f -`
        #[arg(long, required = true)]
        nft: bool,
    },
}

/// A time with its unit, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "write a number and a unit: 90s, 30m, 12h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(each).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_a_number_and_a_unit() {
        assert_eq!(["90s", "30m", "12h", "7d"].map(seconds), [90, 1_800, 43_200, 604_800].map(Ok));
        for wrong in ["", "1", "h", "0h", "-1h", "1.5h", "1w", "99999999999999999999d", "1 h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
