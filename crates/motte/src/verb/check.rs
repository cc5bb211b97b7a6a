//! `motte check`: a configuration and everything it names, without starting.

use motte_event::Severity;
use motte_roles::Passphrases;

use crate::cli::ServeArgs;
use crate::verb::Fault;
use crate::verb::serve::{ask_passphrase, load};

pub(crate) fn run(args: &ServeArgs) -> Result<(), Fault> {
    let config = load(&args.config)?;
    let told = motte_server::check(&config, Some(ask_passphrase()))
        .map_err(|error| Fault::new(error.to_string()))?;
    crate::role::check_outward(&config).map_err(Fault::new)?;
    // A start with a key that does not open the vault would end there.
    motte_server::vault::check(&config, &mut Passphrases::new(Some(ask_passphrase())))
        .map_err(|error| Fault::new(error.to_string()))?;
    motte_server::check_sandbox(&config).map_err(|error| Fault::new(error.to_string()))?;
    let lacking = motte_confine::lacking();
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
    let warnings = told.iter().filter(|event| event.spec().severity >= Severity::Warning);
    warnings.for_each(|event| println!("  {}", event.to_line()));
    for missing in lacking {
        println!("  the process will be confined without {missing}");
    }
    Ok(())
}
