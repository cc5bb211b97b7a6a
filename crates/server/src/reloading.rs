//! A reload: everything is read anew, and put in force whole or not at all.

use motte_config::Config;

use crate::assemble::AssembleError;

/// Why a reload was refused; what was in force stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The configuration cannot be read.
    #[error("{0}")]
    Config(String),
    /// Something the configuration names cannot be used.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Something changed that only a restart can change.
    #[error(
        "{what} changed, which needs a restart\n  remedy: restart motte, or write it as it was and reload again"
    )]
    Restart {
        /// What.
        what: String,
    },
    /// It is of high risk, and the code of a second factor was not given or not taken.
    #[error("{0}")]
    SecondFactor(String),
    /// A file lies where the confined process cannot read any more.
    #[error(
        "{file} lies in {directory}, which the sandbox closed at the start: no file in it was named then\n  remedy: restart motte, or put the file where the others are"
    )]
    Closed {
        /// The file as named.
        file: String,
        /// Its directory.
        directory: String,
    },
    /// The server stops or has stopped.
    #[error("the server stops")]
    Stopped,
}

/// Refuses what a running process cannot change: its sockets, its workers, its state directory.
pub(crate) fn unchangeable(old: &Config, new: &Config) -> Result<(), ReloadError> {
    let restart = |what: String| Err(ReloadError::Restart { what });
    if old.state_dir != new.state_dir {
        return restart("state_dir".to_owned());
    }
    let durabilities = |config: &Config| {
        let listeners = config.listeners.iter().map(|listener| listener.limits.durability);
        listeners.collect::<Vec<_>>()
    };
    if old.listeners.len() == new.listeners.len() && durabilities(old) != durabilities(new) {
        return restart("durability".to_owned());
    }
    if old.keys != new.keys {
        return restart("roles.keys".to_owned());
    }
    if old.workers != new.workers {
        return restart("workers".to_owned());
    }
    if old.metrics != new.metrics {
        return restart("metrics.bind".to_owned());
    }
    if old.record_usage != new.record_usage {
        return restart("policy.record".to_owned());
    }
    if old.sandbox != new.sandbox {
        return restart("sandbox".to_owned());
    }
    if let Some(port) = new.outward_ports().difference(&old.outward_ports()).next() {
        return restart(format!(
            "TCP port {port}, which nothing connected to when motte confined itself, the set of such ports"
        ));
    }
    if old.control != new.control {
        return restart("control".to_owned());
    }
    if old.listeners.len() != new.listeners.len() {
        return restart("the number of listeners".to_owned());
    }
    for listener in &old.listeners {
        let Some(other) = new.listeners.iter().find(|other| other.name == listener.name) else {
            return restart(format!("listener {} is gone: the set of listeners", listener.name));
        };
        if (listener.kind, &listener.bind) != (other.kind, &other.bind) {
            return restart(format!("kind or bind of listener {}", listener.name));
        }
    }
    Ok(())
}

/// What a successful reload read, for the log.
pub(crate) fn what_was_read(config: &Config) -> String {
    let mut read = vec!["limits".to_owned()];
    let own = config.listeners.iter().filter_map(|listener| listener.policy_files.as_ref()).flatten();
    read.extend(config.policy_files.iter().chain(own).map(|path| path.display().to_string()));
    read.extend(config.password_file.iter().map(|path| path.display().to_string()));
    let keys = config.tokens.iter().filter_map(|issuer| issuer.keys_file());
    read.extend(keys.map(|path| path.display().to_string()));
    if config.listeners.iter().any(|listener| listener.tls.is_some()) {
        read.push("certificates and keys".to_owned());
    }
    read.join(", ")
}
