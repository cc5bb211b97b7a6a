//! `motte serve`: a written configuration.

use std::path::{Path, PathBuf};

use motte_config::{Config, KeyPlace, Places};
use motte_roles::{AskPassphrase, Configuration};
use motte_server::{ExitReason, Options, SelfConfinement, Server};

use crate::cli::ServeArgs;
use crate::role::supervise::{self, Plan};
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read};

pub(crate) fn run(args: &ServeArgs) -> Result<(), Fault> {
    let config = load(&args.config)?;
    let path = args.config.clone();
    if config.keys == KeyPlace::Process {
        let read = Box::new(move || configuration(&path));
        return supervise::run(Plan { read, ask: ask_passphrase(), ready: Box::new(|_| {}) });
    }
    let options = Options {
        signals: true,
        confine: Some(SelfConfinement { read: vec![args.config.clone()], files_are_given: false }),
        ask_passphrase: Some(ask_passphrase()),
        read_config: Some(Box::new(move || load(&path).map_err(|fault| fault.to_string()))),
        ..Options::default()
    };
    let server = Server::start(config, options).map_err(|error| Fault::new(error.to_string()))?;
    wait(server)
}

/// Asks at the terminal for the passphrase of a key.
pub(crate) fn ask_passphrase() -> AskPassphrase {
    Box::new(|key| {
        prompt(&format!("passphrase of {}: ", key.display()), "").map_err(|fault| fault.to_string())
    })
}

/// Reads a configuration file. Paths in it are meant from where the file is.
pub(crate) fn load(path: &Path) -> Result<Config, Fault> {
    meant(&configuration(path)?)
}

/// The text of a configuration file.
fn configuration(path: &Path) -> Result<Configuration, Fault> {
    Ok(Configuration {
        text: read(path)?,
        file: path.display().to_string(),
        base: path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf),
    })
}

/// A configuration from its text. One without a file has no places that could be named.
pub(crate) fn meant(written: &Configuration) -> Result<Config, Fault> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut config = motte_config::parse(&written.text, &written.file, today)
        .map_err(|errors| Fault::new(errors.to_string()))?;
    config.resolve_paths(&written.base);
    if written.file.is_empty() {
        config.places = Places::default();
    }
    Ok(config)
}

/// Waits until the server ends.
pub(crate) fn wait(server: Server) -> Result<(), Fault> {
    match server.wait() {
        Ok(ExitReason::Stopped) => Ok(()),
        Ok(ExitReason::Forced) => {
            Err(Fault::new("stopped at once, on a second signal: Sessions of this run were not kept"))
        }
        Err(error) => Err(Fault::new(error.to_string())),
    }
}
