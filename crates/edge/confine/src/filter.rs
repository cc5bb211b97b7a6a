//! The table of permitted calls as seccomp programs, and their installation.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::allowed::{DECLINED, GROUPS};
use crate::error::ConfineError;
use crate::role::{Denied, Role};
use crate::table::{Call, Test, Value};

const STEP: &str = "seccomp filter";

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// The programs of a role in the order of installation. Of several answers the kernel takes the strictest; a declined
/// call is permitted by the last program, so that an earlier one gives its errno.
pub(crate) struct Programs {
    programs: Vec<BpfProgram>,
}

impl Programs {
    /// Compiles the table for a role.
    ///
    /// # Errors
    /// [`ConfineError::Step`] when a program cannot be built; nothing has been installed.
    pub(crate) fn new(role: Role, denied: Denied) -> Result<Self, ConfineError> {
        let mut programs = Vec::new();
        let mut last = BTreeMap::new();
        for group in GROUPS.iter().filter(|group| group.roles.contains(&role)) {
            add(&mut last, group.calls)?;
        }
        for declined in DECLINED.iter().filter(|declined| declined.roles.contains(&role)) {
            add(&mut last, declined.calls)?;
            let mut rules = BTreeMap::new();
            add(&mut rules, declined.calls)?;
            let answer = SeccompAction::Errno(declined.errno.cast_unsigned());
            programs.push(compiled(rules, SeccompAction::Allow, answer)?);
        }
        programs.push(compiled(last, action(denied), SeccompAction::Allow)?);
        Ok(Self { programs })
    }

    /// Puts the programs into force on all threads of the process, for good.
    ///
    /// # Errors
    /// [`ConfineError::Step`] with what the kernel said; earlier programs stay in force.
    pub(crate) fn install(&self) -> Result<(), ConfineError> {
        self.programs
            .iter()
            .try_for_each(|program| seccompiler::apply_filter_all_threads(program))
            .map_err(|error| ConfineError::step(STEP, error))
    }
}

fn action(denied: Denied) -> SeccompAction {
    match denied {
        Denied::Kill => SeccompAction::KillProcess,
        Denied::Errno => SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        Denied::Log => SeccompAction::Log,
        Denied::Trap => SeccompAction::Trap,
    }
}

/// Rules by number of call; a number without rules matches always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn add(rules: &mut Rules, calls: &[Call]) -> Result<(), ConfineError> {
    for call in calls {
        let named = |error| ConfineError::step(STEP, format!("{}: {error}", call.name));
        let rows = call.given.iter().map(|row| rule(row)).collect::<Result<Vec<_>, _>>().map_err(named)?;
        match rules.get_mut(&call.number) {
            None => {
                rules.insert(call.number, rows);
            }
            // Permitted always by one group is permitted always.
            Some(known) if known.is_empty() || rows.is_empty() => known.clear(),
            Some(known) => known.extend(rows),
        }
    }
    Ok(())
}

fn rule(row: &[Test]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = row.iter().map(|test| {
        let value = match test.value {
            Value::Is(value) => value,
            Value::OwnProcess => std::process::id(),
            Value::NoPointer => {
                let (width, equal) = (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq);
                return SeccompCondition::new(test.argument, width, equal, 0);
            }
        };
        let operator = SeccompCmpOp::MaskedEq(test.mask.into());
        SeccompCondition::new(test.argument, SeccompCmpArgLen::Dword, operator, value.into())
    });
    SeccompRule::new(conditions.collect::<Result<Vec<_>, _>>()?)
}

fn compiled(
    rules: Rules,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, ConfineError> {
    let failed = |error| ConfineError::step(STEP, error);
    let filter = SeccompFilter::new(rules, mismatch, matched, ARCHITECTURE).map_err(failed)?;
    BpfProgram::try_from(filter).map_err(failed)
}
