//! `motte harden`: how a broker confines itself, as the kernel tells it, and as attempts show it.

use std::path::{Path, PathBuf};
use std::process::Command;

use motte_confine::selftest;
use motte_confine::{InForce, Mode, Role};

use crate::cli::{HardenAction, HardenArgs};
use crate::role::selinux_domain;
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
    let told: Vec<InForce> = [Role::Supervisor, Role::Core, Role::Keyd, Role::Egress, Role::Admin]
        .into_iter()
        .filter_map(|role| {
            // `motte up` keeps its store below the state directory that it is called with.
            let report = motte_server::report_of(role);
            let read = |path: PathBuf| std::fs::read_to_string(path).ok();
            read(state.join(&report)).or_else(|| read(state.join("store").join(&report)))
        })
        .filter_map(|text| InForce::from_json(&text))
        .filter(|own| pid.is_none_or(|pid| pid == own.process))
        .collect();
    let mut found = Vec::new();
    for own in &told {
        let read = InForce::of(own.process).ok().filter(|read| read.started == own.started);
        // What a process wrote that is gone says nothing.
        found.extend(read.map(|read| read.with_own(own)));
    }
    if pid.is_none() {
        found.extend(silent_children(&found));
    }
    if let (Some(pid), true) = (pid, found.is_empty()) {
        found.push(InForce::of(pid).map_err(|error| Fault::new(error.to_string()))?);
    }
    if found.is_empty() {
        let what = format!("no broker runs on {}: no process tells there what is in force", state.display());
        let remedy = "name the state directory with --state, or the process with --pid";
        return Err(Fault::with_remedy(what, remedy));
    }
    let short = |one: &InForce| {
        let role = one.role.map_or_else(|| format!("process {}", one.process), |role| role.name().to_owned());
        one.shortfalls().into_iter().map(|what| format!("{role}: {what}")).collect::<Vec<_>>()
    };
    let all: Vec<String> = found.iter().flat_map(short).chain(in_wrong_domains(&found)).collect();
    if json {
        println!("{:#}", serde_json::json!({ "processes": found, "shortfalls": all }));
    } else {
        for (number, one) in found.iter().enumerate() {
            print!("{}{one}", if number == 0 { "" } else { "\n" });
        }
        if all.is_empty() {
            println!("\neverything is in force");
        }
    }
    if all.is_empty() { Ok(()) } else { Err(Fault::new(format!("not in force: {}", all.join("; ")))) }
}

/// What the supervisor started and what tells nothing of itself, as the kernel sees it.
fn silent_children(told: &[InForce]) -> Vec<InForce> {
    let supervisor = told.iter().find(|one| one.role == Some(Role::Supervisor));
    let children = supervisor.and_then(|one| {
        let process = one.process;
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()
    });
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    let silent = children.filter(|pid| told.iter().all(|one| one.process != *pid));
    silent.filter_map(|pid| InForce::of(pid).ok()).collect()
}

/// Roles that are not in their SELinux domain though the supervisor is in its own.
fn in_wrong_domains(found: &[InForce]) -> Vec<String> {
    let supervisor = found.iter().find(|one| one.role == Some(Role::Supervisor));
    let Some(own) = supervisor.and_then(|one| one.label.as_deref()) else { return Vec::new() };
    let others = found.iter().filter_map(|one| one.role.map(|role| (role.name(), one.label.as_deref())));
    let others = others.filter(|(role, _)| *role != Role::Supervisor.name());
    others
        .filter_map(|(role, label)| {
            let wanted = selinux_domain(own, role)?;
            (label != Some(&wanted)).then(|| format!("{role}: its SELinux domain is not {wanted}"))
        })
        .collect()
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
