//! `motte reload`: read configuration and files anew, and see how it went.

use motte_roles::{SupervisorAnswer, SupervisorRequest};

use super::{Broker, lines, step_up};
use crate::cli::ReloadArgs;
use crate::verb::Fault;

pub(crate) fn run(args: &ReloadArgs) -> Result<(), Fault> {
    let step_up = step_up(&args.step_up)?;
    let broker = Broker::find(&args.socket)?.stepping_up(step_up);
    match broker.supervisor(SupervisorRequest::Reload)? {
        SupervisorAnswer::Reloaded { fault: None } => {
            println!("reloaded: what was read is in force");
            Ok(())
        }
        SupervisorAnswer::Reloaded { fault: Some(fault) } => {
            Err(Fault::new(format!("not reloaded, what was in force stays in force\n{}", lines(&fault))))
        }
        SupervisorAnswer::Processes { .. }
        | SupervisorAnswer::Stopping
        | SupervisorAnswer::Refused { .. } => Err(broker.nonsense()),
    }
}
