//! `[auth]` as meant: the password file, what checking costs, and what a password must be.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::meant::Config;
use crate::written::AuthWritten;

/// Most memory for checks in MiB: a TiB.
const MEMORY_MIB_MAX: u32 = 1024 * 1024;
/// Ten years.
const DAYS_MAX: u32 = 3_650;
/// As many former passwords as an account remembers.
const HISTORY_MAX: u32 = 24;

/// `[auth.passwords]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordsWritten {
    profile: Option<Spanned<String>>,
    max_age_days: Option<Spanned<u32>>,
    grace_days: Option<Spanned<u32>>,
    history: Option<Spanned<u32>>,
    list: Option<PathBuf>,
    #[serde(default)]
    words: Vec<String>,
}

/// What a chosen password must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordProfile {
    /// Long, not guessable, not known; changed when it became known to others.
    Nist,
    /// Four classes of characters, an age, no reuse.
    Classic {
        /// Days after which it is to be changed.
        max_age_days: u32,
        /// Days after that during which it is still taken.
        grace_days: u32,
        /// Former passwords that may not come again.
        history: u32,
    },
}

/// What passwords must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passwords {
    /// The profile.
    pub profile: PasswordProfile,
    /// A list of refused passwords, one a line, in place of the one in the program.
    pub list: Option<PathBuf>,
    /// Words that no password may be made of: names of the product, the company, the place.
    pub words: Vec<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { profile: PasswordProfile::Nist, list: None, words: Vec::new() }
    }
}

impl PasswordProfile {
    /// The older rules with their usual figures.
    pub const CLASSIC: Self = Self::Classic { max_age_days: 90, grace_days: 14, history: 5 };

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nist => "nist",
            Self::Classic { .. } => "classic",
        }
    }
}

impl Passwords {
    pub(crate) fn from_written(written: &PasswordsWritten, faults: &mut Faults<'_>) -> Self {
        let mut profile = match written.profile.as_ref().map(|name| (name.get_ref().as_str(), name.span())) {
            None | Some(("nist", _)) => PasswordProfile::Nist,
            Some(("classic", _)) => PasswordProfile::CLASSIC,
            Some((other, at)) => {
                let what = format!("password profile {other} is not known");
                faults.add(at.start, what, "use nist or classic");
                // Its keys belong to it, whatever it is called.
                PasswordProfile::CLASSIC
            }
        };
        let numbers = [
            ("max_age_days", &written.max_age_days, 1, DAYS_MAX),
            ("grace_days", &written.grace_days, 0, DAYS_MAX),
            ("history", &written.history, 0, HISTORY_MAX),
        ];
        for (key, number, least, most) in numbers {
            let Some(number) = number else { continue };
            let (value, at) = (*number.get_ref(), number.span().start);
            if !(least..=most).contains(&value) {
                let what = format!("{key} = {value} is out of bounds");
                faults.add(at, what, format!("write a number from {least} to {most}"));
            }
            match (&mut profile, key) {
                (PasswordProfile::Classic { max_age_days, .. }, "max_age_days") => *max_age_days = value,
                (PasswordProfile::Classic { grace_days, .. }, "grace_days") => *grace_days = value,
                (PasswordProfile::Classic { history, .. }, _) => *history = value,
                (PasswordProfile::Nist, _) => {
                    let what = format!("{key} beside profile = \"nist\", which has none");
                    faults.add(at, what, "remove it, or set profile = \"classic\"");
                }
            }
        }
        Self { profile, list: written.list.clone(), words: written.words.clone() }
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut out = format!("\n[auth.passwords]\nprofile = \"{}\"\n", self.profile.name());
        if let PasswordProfile::Classic { max_age_days, grace_days, history } = self.profile {
            out.push_str(&format!(
                "max_age_days = {max_age_days}\ngrace_days = {grace_days}\nhistory = {history}\n"
            ));
        }
        if let Some(list) = &self.list {
            out.push_str(&format!("list = {}\n", crate::meant::quoted(&list.display().to_string())));
        }
        out.push_str(&format!("words = {}", crate::meant::list(self.words.iter().cloned())));
        out
    }
}

/// `[auth]` but for what is asked elsewhere.
pub(crate) fn apply(written: &AuthWritten, config: &mut Config, faults: &mut Faults<'_>) {
    config.password_file.clone_from(&written.password_file);
    if let Some(threads) = &written.hash_threads {
        config.hash_threads = *threads.get_ref();
        if !(1..=64).contains(threads.get_ref()) {
            faults.add(threads.span().start, "hash_threads is out of bounds", "write a number from 1 to 64");
        }
    }
    if let Some(queue) = &written.hash_queue {
        config.hash_queue = *queue.get_ref();
    }
    if let Some(memory) = &written.hash_memory_mib {
        config.hash_memory_mib = *memory.get_ref();
        if !(1..=MEMORY_MIB_MAX).contains(memory.get_ref()) {
            let remedy = "write a number of MiB from 1 to 1048576";
            faults.add(memory.span().start, "hash_memory_mib is out of bounds", remedy);
        }
    }
    config.passwords = Passwords::from_written(&written.passwords, faults);
}
