//! What can be written behind `motte audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::SeverityArg;

/// What stands below the options of `motte audit --help`.
const EXAMPLES: &str = "\
Examples:
  motte audit list
  motte audit host.openssl
  motte audit host.openssl --fail-on warning --json
  motte audit host.openssl --root /mnt/image

An audit reads, changes nothing and asks nobody. As the superuser it sees who uses which library; else only of own processes.
Exit codes: 0 no finding that counts, 1 there are, 2 it could not look.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Name the audits
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// OpenSSL on the host: known vulnerabilities, support, who uses it, openssl.cnf. Motte itself links none
    #[command(name = "host.openssl")]
    HostOpenssl(HostAuditArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HostAuditArgs {
    /// Look at the tree of files below this folder, an image for example, in place of the machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Exit with 1 when there is a finding of this severity or above
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: SeverityArg,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write SARIF 2.1.0
    #[arg(long, conflicts_with = "json")]
    pub(crate) sarif: bool,
}
