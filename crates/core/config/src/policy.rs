//! `[policy]` as written and as meant.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::meant::Config;

/// The policy of the whole broker.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeneralPolicyWritten {
    #[serde(default)]
    pub(crate) files: Vec<PathBuf>,
    pub(crate) record: Option<Spanned<bool>>,
}

impl GeneralPolicyWritten {
    /// What it says, in a configuration that knows its state directory.
    pub(crate) fn apply(self, config: &mut Config, faults: &mut Faults<'_>) {
        config.policy_files = self.files;
        let Some(record) = self.record else { return };
        config.record_usage = *record.get_ref();
        if config.record_usage && config.state_dir.is_none() {
            let what = "record = true, and there is no state directory to record in";
            faults.add(record.span().start, what, "name one with state_dir");
        }
    }
}
