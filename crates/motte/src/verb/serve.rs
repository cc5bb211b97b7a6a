//! `motte serve`: a written configuration.

use std::path::{Path, PathBuf};

use motte_config::Config;
use motte_server::{AskPassphrase, ExitReason, Options, SelfConfinement, Server};

use crate::cli::ServeArgs;
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read};

pub(crate) fn run(args: &ServeArgs) -> Result<(), Fault> {
    let config = load(&args.config)?;
    let path = args.config.clone();
    let options = Options {
        signals: true,
        confine: Some(SelfConfinement { read: vec![args.config.clone()] }),
        ask_passphrase: Some(ask_passphrase()),
        read_config: Some(Box::new(move || load(&path).map_err(|fault| fault.to_string()))),
        ..Options::default()
    };
    let server = Server::start(config, options).map_err(|error| Fault::new(error.to_string()))?;
    wait(server)
}

/// Asks at the terminal for the passphrase of a key.
pub(crate) fn ask_passphrase() -> AskPassphrase {
    Box::new(|key| prompt(&format!("passphrase of {}: ", key.display())).map_err(|fault| fault.to_string()))
}

/// Reads a configuration file. Paths in it are meant from where the file is.
pub(crate) fn load(path: &Path) -> Result<Config, Fault> {
    let text = read(path)?;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut config = motte_config::parse(&text, &path.display().to_string(), today)
        .map_err(|errors| Fault::new(errors.to_string()))?;
    let base = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    config.resolve_paths(&base);
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
