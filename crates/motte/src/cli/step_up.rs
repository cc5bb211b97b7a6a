//! What can be written where a running broker may ask for a second factor.

use std::path::PathBuf;

use clap::Args;

/// As whom something of high risk is asked of a running broker.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StepUpArgs {
    /// The account whose second factor permits it, where [control] second_factor names accounts; its code is asked for
    #[arg(long = "as", value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
    /// File with the code, or a recovery code; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "account")]
    pub(crate) code_file: Option<PathBuf>,
}
