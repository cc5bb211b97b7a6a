//! `motte device`: credentials of further devices, and their end.

use std::path::Path;

use crate::cli::{DeviceAction, DeviceArgs};
use crate::state::{State, check_name, now_s};
use crate::verb::Fault;

pub(crate) fn run(args: &DeviceArgs) -> Result<(), Fault> {
    match &args.action {
        DeviceAction::Add { name, state } => add(name, state),
        DeviceAction::Revoke { name, state } => revoke(name, state),
    }
}

fn add(name: &str, state: &Path) -> Result<(), Fault> {
    check_name(name)?;
    let state = State::at(state);
    let (certificate, key) = state.identity(name);
    if certificate.exists() {
        let what = format!("{} is there already", certificate.display());
        return Err(Fault::with_remedy(
            what,
            "choose another name, or `motte device revoke` it to issue it anew",
        ));
    }
    state.issue_identity(name, "device", now_s())?;
    println!("issued a certificate for {name}, with the role `device`");
    println!("  certificate  {}", certificate.display());
    println!("  key          {}", key.display());
    println!("copy both and {} to the device, over a channel you trust", state.path("ca.pem").display());
    Ok(())
}

fn revoke(name: &str, state: &Path) -> Result<(), Fault> {
    check_name(name)?;
    let state = State::at(state);
    let moved = state.revoke_identity(name, now_s())?;
    println!("revoked the certificate of {name}");
    println!("  list         {}", state.path("crl.pem").display());
    println!("  certificate  {} (moved there)", moved.display());
    println!(
        "a running broker takes it in, and disconnects the device, when it is told to reload: kill -HUP PID"
    );
    Ok(())
}
