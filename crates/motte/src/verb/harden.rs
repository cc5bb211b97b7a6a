//! `motte harden`: how a broker confines itself, as the kernel tells it, and as attempts show it.

use std::path::{Path, PathBuf};
use std::process::Command;

use motte_confine::selftest;
use motte_confine::{InForce, Mode};

use crate::cli::{HardenAction, HardenArgs};
use crate::verb::Fault;

pub(crate) fn run(args: &HardenArgs) -> Result<(), Fault> {
    match &args.action {
        HardenAction::Status { state, pid, json } => status(state, *pid, *json),
        HardenAction::Selftest { json } => self_test(*json),
        HardenAction::Attempt { arguments } => {
            println!("{}", selftest::answer(arguments, itself()?).map_err(Fault::new)?);
            Ok(())
        }
    }
}

fn status(state: &Path, pid: Option<u32>, json: bool) -> Result<(), Fault> {
    let path = state.join(motte_server::REPORT);
    let own = std::fs::read_to_string(&path).ok().and_then(|text| InForce::from_json(&text));
    let Some(process) = pid.or(own.as_ref().map(|own| own.process)) else {
        let what = format!("no broker runs on {}: it has no {}", state.display(), motte_server::REPORT);
        return Err(Fault::with_remedy(
            what,
            "name the state directory with --state, or the process with --pid",
        ));
    };
    let read = InForce::of(process).map_err(|error| Fault::new(error.to_string()))?;
    if pid.is_none() && own.as_ref().is_some_and(|own| own.started != read.started) {
        let what = format!("the broker that wrote {} is gone", path.display());
        return Err(Fault::with_remedy(what, "start it again, or name the process with --pid"));
    }
    let in_force = match &own {
        Some(own) => read.with_own(own),
        None => read,
    };
    let short = in_force.shortfalls();
    if json {
        let report = serde_json::json!({ "in_force": in_force, "shortfalls": short });
        println!("{report:#}");
    } else {
        print!("{in_force}");
        if short.is_empty() {
            println!("everything is in force");
        }
    }
    if short.is_empty() { Ok(()) } else { Err(Fault::new(format!("not in force: {}", short.join("; ")))) }
}

fn self_test(json: bool) -> Result<(), Fault> {
    let itself = itself()?;
    let program = || {
        let mut command = Command::new(&itself);
        command.args(["harden", "attempt"]);
        command
    };
    let findings = selftest::run(Mode::BestEffort, &std::env::temp_dir(), program).map_err(|error| {
        Fault::with_remedy(
            format!("the self-test cannot be laid out: {error}"),
            "check the directory for temporary files",
        )
    })?;
    let holes = findings.iter().filter(|finding| finding.is_hole()).count();
    if json {
        println!("{:#}", serde_json::json!({ "findings": findings, "not_refused": holes }));
    } else {
        print!("{}", selftest::to_text(&findings));
    }
    if holes == 0 {
        return Ok(());
    }
    let missing: Vec<String> = motte_confine::lacking().iter().map(ToString::to_string).collect();
    let what = format!("{holes} of {} attempts were not refused", findings.len());
    if missing.is_empty() {
        return Err(Fault::with_remedy(
            what,
            "this is a defect of motte: please report it with the lines above",
        ));
    }
    Err(Fault::new(format!("{what}; this kernel lacks {}", missing.join("; "))))
}

fn itself() -> Result<PathBuf, Fault> {
    std::env::current_exe().map_err(|error| Fault::new(format!("cannot find motte itself: {error}")))
}
