//! `motte stop`: a clean stop, and the wait for it.

use std::time::{Duration, Instant};

use motte_roles::{SupervisorAnswer, SupervisorRequest};

use super::Broker;
use crate::cli::StopArgs;
use crate::verb::Fault;

pub(crate) fn run(args: &StopArgs) -> Result<(), Fault> {
    let until = Instant::now().checked_add(Duration::from_secs(args.timeout));
    let broker = Broker::find(&args.socket)?;
    match broker.supervisor(SupervisorRequest::Stop)? {
        SupervisorAnswer::Stopping => {}
        SupervisorAnswer::Processes { .. }
        | SupervisorAnswer::Reloaded { .. }
        | SupervisorAnswer::Refused { .. } => return Err(broker.nonsense()),
    }
    if until.is_some_and(|until| broker.wait_gone(until)) {
        println!("stopped");
        return Ok(());
    }
    Err(Fault::with_remedy(
        format!("it has not stopped within {} s, and goes on stopping", args.timeout),
        "see its log; `motte stop` again waits on, a second SIGTERM stops it at once and keeps nothing of this run",
    ))
}
