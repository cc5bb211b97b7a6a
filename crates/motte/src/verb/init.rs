//! `motte init`: the credentials of a broker that runs as a service. Its policy is a file of the operator's.

use crate::cli::InitArgs;
use crate::state::State;
use crate::verb::Fault;

pub(crate) fn run(args: &InitArgs) -> Result<(), Fault> {
    let made = State::at(&args.state).open_credentials(&args.names)?;
    // Called at every start: there is something to say at the first, and when a certificate was due.
    if !made.lines.is_empty() {
        println!("made in {}:", args.state.display());
    }
    for line in &made.lines {
        println!("  {line}");
    }
    Ok(())
}
