//! Asking again: where `[control] second_factor` names accounts, what is of high risk needs the code of one of them.
//!
//! Reloads come here from the supervisor's thread, what operators ask of the core from `control`.

use motte_config::Config;
use motte_event::life;
use motte_identity::Authenticator;
use motte_roles::StepUp;

use crate::assemble::Faults;
use crate::clock::unix_ms;
use crate::logins::Logins;
use crate::rules::Rules;

/// What is asked, and who asks.
pub(crate) struct Asked<'a> {
    /// Who, for the log: a user of this machine, or a signal.
    pub(crate) by: &'a str,
    /// What, for people.
    pub(crate) act: &'a str,
    /// As whom, with the code.
    pub(crate) step_up: Option<&'a StepUp>,
    /// What to do without one.
    pub(crate) remedy: &'a str,
}

/// Whether this may be done: nobody is named, or a code of one of the accounts is taken. Each outcome is an event.
///
/// # Errors
/// Why not, with the remedy, for whoever asks.
pub(crate) fn grant(
    asked: &Asked<'_>,
    accounts: &[String],
    authenticator: &Authenticator,
    logins: &Logins,
) -> Result<(), String> {
    if accounts.is_empty() {
        return Ok(());
    }
    let Asked { by, act, step_up, remedy } = asked;
    let Some(StepUp { account, code }) = step_up else {
        logins.log().event(life::step_up_wanted(by, act, &accounts.join(", ")));
        let cause = format!("to {act} needs a code of a second factor, and none was given");
        return Err(format!("{cause}\n  remedy: {remedy}"));
    };
    let taken = if accounts.contains(account) {
        take(account, code.expose(), authenticator, logins)
    } else {
        Err("second_factor does not name this account".to_owned())
    };
    match taken {
        Ok(()) => {
            logins.log().event(life::step_up_granted(by, act, account));
            Ok(())
        }
        Err(cause) => {
            logins.log().event(life::step_up_refused(by, act, account, &cause));
            let remedy =
                "give a code that was not used yet, of an account that second_factor in [control] names";
            Err(format!("to {act} needs a code of a second factor: {cause}\n  remedy: {remedy}"))
        }
    }
}

/// Takes a code as a login does: who guesses is held.
fn take(account: &str, code: &str, authenticator: &Authenticator, logins: &Logins) -> Result<(), String> {
    let held = |scope: motte_identity::attempts::Scope| {
        format!("too many wrong codes were given; the {} is held for a time", scope.name())
    };
    let ticket = logins.begin_step_up(account).map_err(held)?;
    let taken = authenticator.step_up(account, code, unix_ms() / 1_000);
    ticket.stepped_up(taken.is_ok());
    taken.map_err(str::to_owned)
}

/// What of a reload is of high risk, for people; nothing: it needs no code. The set of accounts itself changes at a start only.
pub(crate) fn changes(old: (&Config, &Rules), new: (&Config, &Rules)) -> Vec<String> {
    let mut changed = Vec::new();
    if old.1.policy_text != new.1.policy_text {
        changed.push("another policy".to_owned());
    }
    if old.0 != new.0 {
        changed.push("another configuration".to_owned());
    }
    let (former, next) = (old.1.listeners.first(), new.1.listeners.first());
    if let (Some(former), Some(next)) = (former, next) {
        let now_s = unix_ms() / 1_000;
        let is_other =
            |name: &&String| former.authenticator.would_give_other_codes(&next.authenticator, name, now_s);
        let others = old.0.control.second_factor.iter().filter(is_other);
        changed.extend(others.map(|name| format!("other codes of {name}")));
    }
    changed
}

/// Finds the accounts that could never give a code.
pub(crate) fn check_accounts(config: &Config, authenticator: &Authenticator, faults: &mut Faults<'_>) {
    for account in config.control.second_factor.iter().filter(|name| !authenticator.has_second_factor(name)) {
        let shown = account.escape_debug();
        faults.push(format!("second_factor in [control] names `{shown}`, which has no second factor in the password file\n  remedy: enrol it with `motte user totp enrol`, or take the name out and restart"));
    }
}
