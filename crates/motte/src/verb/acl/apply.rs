//! `motte acl apply`: a new policy in force on a running broker, once it is known what it changes.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use motte_access::Policy;
use motte_access::analysis::Difference;
use motte_event::escaped;
use motte_roles::{SupervisorAnswer, SupervisorRequest};
use serde_json::json;

use super::replaced::Replaced;
use super::source::{self, Texts, Unreadable};
use super::{WIDENED, diff, lint};
use crate::cli::{AclApplyArgs, PolicyArgs};
use crate::verb::Fault;
use crate::verb::answer::{Answer, NOT_SO};
use crate::verb::connecting::read;
use crate::verb::control::{Broker, lines, step_up};
use crate::verb::findings::{self, Reported};

pub(super) fn run(args: &AclApplyArgs) -> Result<Answer, Fault> {
    let state = args.socket.state.clone().unwrap_or_else(|| PathBuf::from("motte-state"));
    let config = args.socket.config.clone();
    let source = PolicyArgs { config, policy: Vec::new(), state, any_certificate: false, json: args.json };
    let (target, text) = (target(args, &source)?, read(&args.new)?);
    let faults = match compared(args, &source, &target, &text)? {
        Ok(difference) => return judged(args, &target, &text, &difference),
        Err(faults) => faults,
    };
    Ok(refused(&Fault::with_remedy(
        format!("{} is not put in force\n{faults}", args.new.display()),
        "mend what is named; what was in force stays in force",
    )))
}

/// The file that is replaced: the one that the broker's policy is in, or the one of several that is named.
fn target(args: &AclApplyArgs, source: &PolicyArgs) -> Result<PathBuf, Fault> {
    let files = source::files(source)?;
    let is_meant = |file: &&PathBuf| args.to.as_ref().is_none_or(|to| is_same(file, to));
    let mut meant = files.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(one), None) => Ok(one.clone()),
        _ => {
            let names = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
            let what =
                format!("the policy of this broker is in {names}, so it is not clear which is replaced");
            Err(Fault::with_remedy(what, "name one of them with --to FILE"))
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// What changes, or the faults of the new policy.
fn compared(
    args: &AclApplyArgs,
    source: &PolicyArgs,
    target: &Path,
    text: &str,
) -> Result<Result<Difference, String>, Fault> {
    // Under its own name first, so that a fault is found where it was written.
    if let Err(error) = Policy::default().read(text, &args.new.display().to_string()) {
        return Ok(Err(error.to_string()));
    }
    let old = source::world(source).map_err(Fault::from)?;
    let new = match source::world_with(source, &Texts::from([(target.to_owned(), text.to_owned())])) {
        Ok(world) => world,
        Err(Unreadable::Policy(error)) => return Ok(Err(error.to_string())),
        Err(Unreadable::Other(fault)) => return Err(fault),
    };
    let fault = |error: motte_access::analysis::TooMany| Fault::new(error.to_string());
    let found = new.lint().map_err(fault)?.into_iter().map(lint::reported);
    let counted: Vec<Reported> =
        found.filter(|one| !findings::is_good(std::slice::from_ref(one), args.fail_on)).collect();
    if !counted.is_empty() {
        return Ok(Err(findings::text(&counted)));
    }
    motte_access::analysis::diff(&old, &new).map(Ok).map_err(fault)
}

/// Shows what changes, asks, and puts it in force.
fn judged(args: &AclApplyArgs, target: &Path, text: &str, difference: &Difference) -> Result<Answer, Fault> {
    if !args.json {
        print!("{}", diff::text(difference));
        // A reader that is gone does not keep it from being asked.
        let _ = std::io::stdout().flush();
    }
    let told = |is_in_force: bool, code: u8| {
        let mut value = diff::value(difference);
        value.as_object_mut().map(|fields| fields.insert("in_force".to_owned(), json!(is_in_force)));
        Answer { text: if args.json { format!("{value}\n") } else { String::new() }, code }
    };
    if !args.yes && !confirmed()? {
        eprintln!(
            "motte: not put in force: nobody said yes\n  remedy: say yes at the terminal, or add --yes"
        );
        return Ok(told(false, if difference.widened.is_empty() { NOT_SO } else { WIDENED }));
    }
    match put(args, target, text) {
        Ok(former) => {
            let mut answer = told(true, 0);
            if !args.json {
                answer.text = format!("in force; the former policy is in {}\n", former.display());
            }
            Ok(answer)
        }
        Err(fault) => {
            eprintln!("motte: {fault}");
            Ok(told(false, NOT_SO))
        }
    }
}

fn confirmed() -> Result<bool, Fault> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("put this in force? [y/N] ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Fault::new(format!("cannot read from the terminal: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Replaces the file and has the broker read it; gives where the former one is.
fn put(args: &AclApplyArgs, target: &Path, text: &str) -> Result<PathBuf, Fault> {
    // Before anything is touched: that there is a broker, and whether it will ask for a code.
    let accounts = Broker::find(&args.socket)?.second_factors()?;
    if !accounts.is_empty() && args.step_up.account.is_none() {
        let names = accounts.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(", ");
        let what = format!("this needs a code of a second factor, of one of: {names}");
        return Err(Fault::with_remedy(
            what,
            "add --as ACCOUNT, and --code-file FILE where nobody can be asked",
        ));
    }
    let step_up = step_up(&args.step_up)?;
    let broker = Broker::find(&args.socket)?.stepping_up(step_up);
    let replaced = Replaced::with(target, text)?;
    let fault = match broker.supervisor(SupervisorRequest::Reload) {
        Ok(SupervisorAnswer::Reloaded { fault: None }) => return Ok(replaced.keep()),
        Ok(SupervisorAnswer::Reloaded { fault: Some(fault) }) => Fault::new(format!(
            "the broker refuses it; what was in force stays in force, and {} is as it was\n{}",
            target.display(),
            lines(&fault)
        )),
        Ok(
            SupervisorAnswer::Processes { .. }
            | SupervisorAnswer::Stopping
            | SupervisorAnswer::Refused { .. },
        ) => broker.nonsense(),
        Err(fault) => Fault::with_remedy(
            format!("whether it is in force is not known, and {} is as it was: {fault}", target.display()),
            "see the log of the broker, and reload",
        ),
    };
    replaced.put_back()?;
    Err(fault)
}

fn refused(fault: &Fault) -> Answer {
    eprintln!("motte: {fault}");
    Answer { text: String::new(), code: NOT_SO }
}
