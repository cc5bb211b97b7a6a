//! `motte device`: credentials of further devices.

use crate::cli::{DeviceAction, DeviceArgs};
use crate::state::{State, now_s};
use crate::verb::Fault;

pub(crate) fn run(args: &DeviceArgs) -> Result<(), Fault> {
    let DeviceAction::Add { name, state } = &args.action;
    let state = State::at(state);
    let (certificate, key) = state.identity(name);
    if certificate.exists() {
        let what = format!("{} is there already", certificate.display());
        return Err(Fault::with_remedy(
            what,
            "choose another name, or remove the directory to issue it anew",
        ));
    }
    state.issue_identity(name, "device", now_s())?;
    println!("issued a certificate for {name}, with the role `device`");
    println!("  certificate  {}", certificate.display());
    println!("  key          {}", key.display());
    println!("copy both and {} to the device, over a channel you trust", state.path("ca.pem").display());
    Ok(())
}
