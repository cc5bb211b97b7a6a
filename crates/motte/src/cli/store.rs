//! What can be written behind `motte store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What stands below the options of `motte store --help`.
const EXAMPLES: &str = "\
Examples:
  motte store check                                 every segment is read and checked
  motte store stats --config /etc/motte/motte.toml
  motte store backup --to /backup                   while the broker runs; makes /backup/motte-TIME and /backup/vault
  motte store check --backup /backup/motte-20261121T114500Z
  motte store restore /backup/motte-20261121T114500Z --state restored
  motte store export --plaintext-to all.jsonl       everything that is kept, readable by whoever has the file

Keys come from where the configuration names them (see docs/vault.md). Exit codes: 0 good, 1 damage or a failure.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) action: StoreAction,
}

/// Which state directory, and the key that opens its vault.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeptArgs {
    /// The state directory of `motte up`, or any other, with its key beside it
    #[arg(long, default_value = "motte-state")]
    pub(crate) state: PathBuf,
    /// The configuration that names state directory and key, in place of --state
    #[arg(long, conflicts_with = "state")]
    pub(crate) config: Option<PathBuf>,
    /// Key file that opens the vault, in place of what is configured
    #[arg(long, conflicts_with = "recovery_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// File with the recovery key, in place of what is configured; `-` is standard input
    #[arg(long)]
    pub(crate) recovery_file: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Read and check every segment, the vault, and with --backup a backup; name damage with file and offset
    Check {
        #[command(flatten)]
        kept: KeptArgs,
        /// A backup, in place of the state directory
        #[arg(long)]
        backup: Option<PathBuf>,
        /// The vault that opens the backup; the one beside it if left out
        #[arg(long, requires = "backup")]
        vault: Option<PathBuf>,
    },
    /// Sessions, messages, bytes, segments, free space
    Stats {
        #[command(flatten)]
        kept: KeptArgs,
    },
    /// Write what is needed together and give the rest of the space back; the broker is stopped
    Compact {
        #[command(flatten)]
        kept: KeptArgs,
    },
    /// Write everything that is kept as JSON lines, which anybody can read
    Export {
        #[command(flatten)]
        kept: KeptArgs,
        /// The file, which must not be there; what is sealed at rest stands in it in the clear (mode 0600)
        #[arg(long, value_name = "FILE")]
        plaintext_to: PathBuf,
    },
    /// Take an export into a state directory that keeps nothing yet; the broker is stopped
    Import {
        #[command(flatten)]
        kept: KeptArgs,
        /// The export
        from: PathBuf,
    },
    /// Copy the journal into a new directory, also while the broker runs, and the vault beside it
    Backup {
        #[command(flatten)]
        kept: KeptArgs,
        /// Directory in which the backup is made; the one copy of the vault there serves all backups beside it
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Verify a backup and put it into a state directory that is empty or not there
    Restore {
        #[command(flatten)]
        kept: KeptArgs,
        /// The backup
        backup: PathBuf,
        /// The vault that opens it; the one beside it if left out
        #[arg(long)]
        vault: Option<PathBuf>,
    },
}
