//! `motte check`: a configuration and everything it names, without starting.

use motte_config::SandboxMode;

use crate::cli::ServeArgs;
use crate::verb::Fault;
use crate::verb::serve::{ask_passphrase, load};

pub(crate) fn run(args: &ServeArgs) -> Result<(), Fault> {
    let config = load(&args.config)?;
    motte_server::check(&config, Some(ask_passphrase())).map_err(|error| Fault::new(error.to_string()))?;
    let lacking = motte_confine::lacking();
    if config.sandbox.mode == Some(SandboxMode::Required) && !lacking.is_empty() {
        return Err(Fault::new(format!("{}", motte_confine::ConfineError::Missing(lacking))));
    }
    println!("{}: good", args.config.display());
    for listener in &config.listeners {
        let addresses: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
        println!("  {:<12} {:<5} {}", listener.name, listener.kind.name(), addresses.join(", "));
    }
    for listener in &config.listeners {
        let files = listener.policy_files.as_ref().unwrap_or(&config.policy_files);
        if files.is_empty() {
            println!("  no policy file for {}: nothing will be permitted there", listener.name);
        }
    }
    for missing in lacking {
        println!("  the process will be confined without {missing}");
    }
    Ok(())
}
