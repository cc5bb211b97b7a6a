//! What can be written behind `motte vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{KeptArgs, StepUpArgs};

/// What stands below the options of `motte vault --help`.
const EXAMPLES: &str = "\
Examples:
  motte vault status
  motte vault rotate-kek                            a new key in the key file; the old one opens nothing any more
  motte vault rotate-kek --config old.toml --new-config new.toml    to another kind of key
  motte vault recovery new                          a new recovery key, shown once
  motte vault recover --recovery-file -             the key file was lost
  motte vault shred device-7 --yes --copy /backup/vault

While a broker runs they are asked of it on its control socket. What holds after them: docs/vault.md.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    pub(crate) action: VaultAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VaultAction {
    /// What opens the vault, how many keys are in it, and whether the configured key is one that opens it
    Status {
        #[command(flatten)]
        kept: KeptArgs,
    },
    /// Exchange the key that opens the vault; nothing that is kept is written again
    RotateKek {
        #[command(flatten)]
        kept: KeptArgs,
        #[command(flatten)]
        step_up: StepUpArgs,
        /// A configuration whose [store.key] names the new key, where that is not a new content of the same key file
        #[arg(long)]
        new_config: Option<PathBuf>,
    },
    /// Exchange the data keys and write what they sealed again
    RotateDek {
        #[command(flatten)]
        kept: KeptArgs,
        #[command(flatten)]
        step_up: StepUpArgs,
        /// Keep the old keys in the vault, so that it still opens backups made before
        #[arg(long)]
        keep_old: bool,
    },
    /// Destroy the keys of a device: what waits for it and what it left is gone, in backups too
    Shred {
        #[command(flatten)]
        kept: KeptArgs,
        #[command(flatten)]
        step_up: StepUpArgs,
        /// The device: its identity
        device: String,
        /// Do it; it cannot be taken back
        #[arg(long)]
        yes: bool,
        /// A copy of the vault that is replaced too, such as the one beside backups (may be repeated)
        #[arg(long, value_name = "FILE")]
        copy: Vec<PathBuf>,
    },
    /// Make a recovery key, or take it away
    Recovery {
        #[command(flatten)]
        kept: KeptArgs,
        #[command(flatten)]
        step_up: StepUpArgs,
        /// `new`: in place of the one there may be; `remove`: none any more
        action: RecoveryAction,
    },
    /// Open the vault with the recovery key and give it the key that is configured, which is made if it is a file
    Recover {
        #[command(flatten)]
        kept: KeptArgs,
        #[command(flatten)]
        step_up: StepUpArgs,
    },
    /// Replace a copy of the vault, such as the one beside backups
    Copy {
        #[command(flatten)]
        kept: KeptArgs,
        /// The copy
        to: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum RecoveryAction {
    /// Make one, in place of the one there may be
    New,
    /// Take it away
    Remove,
}
