//! `motte import`: the words of the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    pub(crate) from: ImportFrom,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportFrom {
    /// A mosquitto.conf with the files that it names; says what was insecure, what is stricter and what is not taken
    Mosquitto(MosquittoArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motte import mosquitto /etc/mosquitto/mosquitto.conf --out motte
  motte check --config motte/motte.toml")]
pub(crate) struct MosquittoArgs {
    /// The configuration
    pub(crate) file: PathBuf,
    /// Directory for what is written; it must be empty or not be there
    #[arg(long, default_value = "motte")]
    pub(crate) out: PathBuf,
    /// Where mosquitto has no acl_file and so permits everything, permit everything to whoever logs in
    #[arg(long)]
    pub(crate) keep_open: bool,
}
