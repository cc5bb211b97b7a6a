//! `motte key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a private key (ECDSA, P-256), encrypted under a passphrase
    New {
        /// The file to make; it must not be there
        file: PathBuf,
        /// Passphrase, instead of the prompt; `-` is standard input
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        /// Do not encrypt it: whoever can read the file has the key
        #[arg(long, conflicts_with = "passphrase_file")]
        plain: bool,
        /// Encrypt it, which is done in any case
        #[arg(long, conflicts_with = "plain")]
        encrypt: bool,
    },
    /// Encrypt a private key under another passphrase, or one that is not encrypted
    Passwd {
        /// The file of the key
        file: PathBuf,
        /// Its passphrase so far, instead of the prompt
        #[arg(long)]
        old_passphrase_file: Option<PathBuf>,
        /// The new passphrase, instead of the prompt; `-` is standard input
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
    },
    /// Say whether a private key is encrypted, opens, and who can read its file; exit code 1 if something is wrong
    Check {
        /// The file of the key
        file: PathBuf,
        /// Its passphrase, instead of the prompt; `-` is standard input
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
    },
}
