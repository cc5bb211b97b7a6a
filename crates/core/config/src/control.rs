//! The control socket: where operators ask a running broker, and who may.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::meant::KeyPlace;

/// Longest path of a Unix socket that the system takes, in bytes.
const SOCKET_BYTES_MAX: usize = 107;
/// Accounts that may be named to give codes.
const SECOND_FACTORS_MAX: usize = 64;
/// The name of the socket in a directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// `[control]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlWritten {
    enabled: Option<bool>,
    socket: Option<Spanned<PathBuf>>,
    group: Option<Spanned<String>>,
    second_factor: Option<Spanned<Vec<String>>>,
}

/// The control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// There is one.
    pub enabled: bool,
    /// Where; `None`: `control.sock` in the state directory, and none where there is no state directory.
    pub socket: Option<PathBuf>,
    /// A group whose members may ask, beside root and the user of the broker.
    pub group: Option<String>,
    /// Accounts of the password file of which one gives a code where a request is of high risk; none: nobody is asked.
    pub second_factor: Vec<String>,
}

impl Default for Control {
    fn default() -> Self {
        Self { enabled: true, socket: None, group: None, second_factor: Vec::new() }
    }
}

impl Control {
    pub(crate) fn from_written(written: &ControlWritten, keys: KeyPlace, faults: &mut Faults<'_>) -> Self {
        if let Some(socket) = &written.socket {
            let length = socket.get_ref().as_os_str().len();
            if length == 0 || length > SOCKET_BYTES_MAX {
                let what = format!("a path of {length} bytes can be no socket");
                faults.add(
                    socket.span().start,
                    what,
                    "write a path of at most 107 bytes, such as /run/motte/control.sock",
                );
            }
        }
        if let (Some(socket), KeyPlace::Inside) = (&written.socket, keys) {
            let what = "roles.keys = \"inside\" makes one process, which has no control socket";
            faults.add(socket.span().start, what, "write keys = \"process\", or leave this line out");
        }
        if let (Some(group), None) = (&written.group, &written.socket) {
            let what = "the group cannot enter the state directory, where the socket would be";
            let remedy =
                "name a socket in a directory that the group may enter, such as /run/motte/control.sock";
            faults.add(group.span().start, what, remedy);
        }
        if let Some(accounts) = &written.second_factor {
            check_accounts(accounts, written.enabled.unwrap_or(true) && keys == KeyPlace::Process, faults);
        }
        Self {
            enabled: written.enabled.unwrap_or(true),
            socket: written.socket.as_ref().map(|socket| socket.get_ref().clone()),
            group: written.group.as_ref().map(|group| group.get_ref().clone()),
            second_factor: written
                .second_factor
                .as_ref()
                .map(|names| names.get_ref().clone())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut out = format!("\n[control]\nenabled = {}", self.enabled);
        if let Some(socket) = &self.socket {
            out.push_str(&format!("\nsocket = {}", quoted(&socket.display().to_string())));
        }
        if let Some(group) = &self.group {
            out.push_str(&format!("\ngroup = {}", quoted(group)));
        }
        if !self.second_factor.is_empty() {
            let names = self.second_factor.iter().map(|name| quoted(name)).collect::<Vec<_>>();
            out.push_str(&format!("\nsecond_factor = [{}]", names.join(", ")));
        }
        out
    }
}

/// Accounts that are to give codes: a few, each once, and somewhere to give them.
fn check_accounts(accounts: &Spanned<Vec<String>>, has_socket: bool, faults: &mut Faults<'_>) {
    let (at, names) = (accounts.span().start, accounts.get_ref());
    if !has_socket && !names.is_empty() {
        let what = "there is no control socket on which a code could be given";
        faults.add(at, what, "leave `enabled = false` and roles.keys = \"inside\" out, or this line");
    }
    if names.len() > SECOND_FACTORS_MAX {
        let remedy = "name the few who change the policy, at most 64";
        faults.add(at, format!("{} accounts are more than may be named", names.len()), remedy);
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            let remedy =
                "name accounts of the password file, each once: second_factor = [\"alice\", \"bob\"]";
            faults.add(
                at,
                format!("the account `{}` is named twice, or is none", name.escape_debug()),
                remedy,
            );
        }
    }
}

impl crate::meant::Config {
    /// Where the control socket is; `None`: there is none, nor is there one where everything is in one process.
    pub fn control_socket(&self) -> Option<PathBuf> {
        let in_state = || self.state_dir.as_ref().map(|state| state.join(CONTROL_SOCKET));
        self.control
            .socket
            .clone()
            .or_else(in_state)
            .filter(|_| self.control.enabled && self.keys == KeyPlace::Process)
    }
}
