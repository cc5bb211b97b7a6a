//! The conversation of one login: what is sent first, and what next after each answer, until it is known whether the user
//! may come in. Nothing is let in but by a bind of its own that succeeded, with a password that is not empty.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ber::Malformed;
use crate::denial::Denial;
use crate::filter::Values;
use crate::message::{Entry, LdapResult, Op, Response, Search, bind, search};
use crate::plan::{Groups, Plan, Way};
use crate::{GROUPS_MAX, PASSWORD_BYTES_MAX, USER_BYTES_MAX};

/// Answers that one conversation may have.
const ANSWERS_MAX: usize = GROUPS_MAX + 64;
/// The first number of a request; smaller ones are for what comes before.
const FIRST_ID: u32 = 2;
/// Nobody is called so: who is not found is bound by this name, so that it takes as many steps as a wrong password.
const NOBODY: &str = "cn=motte-nobody";
/// Matches every entry.
const ANY: &[u8] = b"\x87\x0bobjectClass";

const SUCCESS: u32 = 0;
const SIZE_LIMIT: u32 = 4;
const NO_SUCH_ENTRY: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;
const NO_ACCESS: u32 = 50;
/// What says nothing about the user: operationsError, protocolError, timeLimitExceeded, authMethodNotSupported,
/// strongerAuthRequired, referral, adminLimitExceeded, confidentialityRequired, saslBindInProgress, busy, unavailable, other.
const TROUBLES: [u32; 12] = [1, 2, 3, 7, 8, 10, 11, 13, 14, 51, 52, 80];

/// What the directory says about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is who it says.
    Allowed {
        /// The name of its entry.
        entry: String,
        /// Names of its groups.
        groups: Vec<String>,
    },
    /// It is not let in; the cause is for the log.
    Denied(Denial),
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Wait for another answer.
    Wait,
    /// Send this, and wait.
    Send(Zeroizing<Vec<u8>>),
    /// It is known.
    Done(Outcome),
}

/// The directory does not say what it was asked: nobody is let in, and it is nobody's fault who wants in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// An operation ended badly.
    #[error("{what}: result code {code}{diagnostic}")]
    Refused {
        /// Which one, for people.
        what: &'static str,
        /// Of RFC 4511, appendix A.
        code: u32,
        /// What the directory says about it, or nothing.
        diagnostic: String,
    },
    /// An answer to something else, or more of them than there may be.
    #[error("an answer that was not asked for")]
    Unexpected,
    /// No message of LDAP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Trouble {
    /// An operation that ended with this result.
    pub fn refused(what: &'static str, result: &LdapResult<'_>) -> Self {
        let said: String = result.diagnostic.chars().take(120).collect();
        let diagnostic = if said.is_empty() { said } else { format!(" ({said})") };
        Self::Refused { what, code: result.code, diagnostic }
    }
}

/// What was found of the user so far.
#[derive(Debug, Default)]
struct Found {
    entries: usize,
    entry: String,
    is_named: bool,
    groups: Vec<String>,
}

/// Which answer is awaited.
#[derive(Debug)]
enum State {
    /// That the account which searches is in.
    Account,
    /// The user's entry.
    Finding(Found),
    /// That the user is in.
    Own(Found),
    /// That nobody is in; then the cause why not.
    Nobody(Denial),
    /// The user's own entry, read by the user.
    Reading(Found),
    /// That the account is in again.
    AccountAgain(Found),
    /// The groups.
    Groups(Found),
    /// None.
    Over,
}

/// One login.
pub struct Login {
    plan: Arc<Plan>,
    user: String,
    password: Zeroizing<Vec<u8>>,
    account_password: Zeroizing<Vec<u8>>,
    time_s: u32,
    id: u32,
    answers: usize,
    state: State,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a name and a password are no question for a directory, whoever it is.
///
/// A bind without a password, or without a name, succeeds at many directories as nobody's (RFC 4513, 5.1.1 and 5.1.2), and
/// what reads texts up to a zero may take a password that begins with one for empty.
pub(crate) fn refused_at_once(user: &str, password: &[u8]) -> Option<Denial> {
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains('\0') {
        return Some(Denial::Name);
    }
    if password.is_empty() {
        return Some(Denial::NoPassword);
    }
    if password.len() > PASSWORD_BYTES_MAX || password.contains(&0) {
        return Some(Denial::Password);
    }
    None
}

impl Login {
    /// The conversation with what is to be sent first. A search may take the directory `time_s` seconds.
    ///
    /// # Errors
    /// Why nothing is to be sent, for the log: the user is not let in.
    pub fn begin(
        plan: Arc<Plan>,
        account_password: &[u8],
        user: &str,
        password: &[u8],
        time_s: u32,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), Denial> {
        if let Some(cause) = refused_at_once(user, password) {
            return Err(cause);
        }
        let mut own = Self {
            plan,
            user: user.to_owned(),
            password: Zeroizing::new(password.to_vec()),
            account_password: Zeroizing::new(account_password.to_vec()),
            time_s,
            id: FIRST_ID,
            answers: 0,
            state: State::Over,
        };
        let first = match &own.plan.way {
            Way::Template(template) => {
                let entry = template.fill(&own.user);
                let first = bind(own.id, &entry, &own.password);
                own.state = State::Own(Found { entry, ..Found::default() });
                first
            }
            Way::Search { account, .. } => {
                if own.account_password.is_empty() {
                    return Err(Denial::NoAccount);
                }
                own.state = State::Account;
                bind(own.id, account, &own.account_password)
            }
        };
        Ok((own, first))
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// [`Trouble`]; nothing is to be sent after one.
    pub fn take(&mut self, response: &Response<'_>) -> Result<Next, Trouble> {
        self.answers += 1;
        let (state, plan) = (std::mem::replace(&mut self.state, State::Over), Arc::clone(&self.plan));
        if let (0, Op::Extended(result)) = (response.id, &response.op) {
            return Err(Trouble::refused("the directory ends the connection", result));
        }
        if response.id != self.id || self.answers > ANSWERS_MAX {
            return Err(Trouble::Unexpected);
        }
        match (state, &response.op) {
            (state, Op::Intermediate) => {
                self.state = state;
                Ok(Next::Wait)
            }
            (State::Account, Op::Bind(result)) => self.account(result, &plan),
            (State::Finding(found), op) => self.finding(found, op, &plan),
            (State::Own(found), Op::Bind(result)) => self.own(found, result, &plan),
            (State::Nobody(cause), Op::Bind(_)) => Ok(Next::Done(Outcome::Denied(cause))),
            (State::Reading(found), op) => self.reading(found, op, &plan),
            (State::AccountAgain(found), Op::Bind(result)) => {
                accepted("the account that searches is not let in", result)?;
                self.search_groups(found, &plan)
            }
            (State::Groups(found), op) => self.groups(found, op),
            _ => Err(Trouble::Unexpected),
        }
    }

    fn send(&mut self, state: State, message: impl FnOnce(u32) -> Zeroizing<Vec<u8>>) -> Next {
        self.id += 1;
        self.state = state;
        Next::Send(message(self.id))
    }

    fn values<'a>(&'a self, entry: &'a str) -> Values<'a> {
        Values { user: &self.user, entry }
    }

    fn account(&mut self, result: &LdapResult<'_>, plan: &Plan) -> Result<Next, Trouble> {
        accepted("the account that searches is not let in", result)?;
        let Way::Search { base, filter, .. } = &plan.way else { return Err(Trouble::Unexpected) };
        let filter = filter.encode(self.values(""));
        let attributes = attributes(plan);
        // One more than there may be tells that there are several.
        let asked = Search {
            base,
            is_subtree: true,
            entries_max: 2,
            time_s: self.time_s,
            filter: &filter,
            attributes: &attributes,
        };
        Ok(self.send(State::Finding(Found::default()), |id| search(id, &asked)))
    }

    fn finding(&mut self, mut found: Found, op: &Op<'_>, plan: &Plan) -> Result<Next, Trouble> {
        let result = match op {
            Op::Entry(entry) => {
                self.note(&mut found, entry, plan)?;
                self.state = State::Finding(found);
                return Ok(Next::Wait);
            }
            Op::Reference => {
                self.state = State::Finding(found);
                return Ok(Next::Wait);
            }
            Op::Done(result) => result,
            _ => return Err(Trouble::Unexpected),
        };
        if result.code != SUCCESS && !(result.code == SIZE_LIMIT && found.entries > 0) {
            return Err(Trouble::refused("the search for the user", result));
        }
        let cause = match found.entries {
            0 => Some(Denial::Unknown),
            1 if result.code == SIZE_LIMIT => Some(Denial::Several),
            1 if !found.is_named => Some(Denial::Spelling),
            1 if found.entry.is_empty() => Some(Denial::Nameless),
            1 if found.groups.len() > GROUPS_MAX => Some(Denial::Groups),
            1 => None,
            _ => Some(Denial::Several),
        };
        let password = self.password.clone();
        if let Some(cause) = cause {
            let Way::Search { base, .. } = &plan.way else { return Err(Trouble::Unexpected) };
            let nobody = format!("{NOBODY},{base}");
            return Ok(self.send(State::Nobody(cause), |id| bind(id, &nobody, &password)));
        }
        let entry = found.entry.clone();
        Ok(self.send(State::Own(found), |id| bind(id, &entry, &password)))
    }

    fn own(&mut self, found: Found, result: &LdapResult<'_>, plan: &Plan) -> Result<Next, Trouble> {
        match result.code {
            SUCCESS => {}
            code if TROUBLES.contains(&code) => return Err(Trouble::refused("the user's bind", result)),
            INVALID_CREDENTIALS | NO_SUCH_ENTRY => {
                return Ok(Next::Done(Outcome::Denied(Denial::Wrong)));
            }
            _ => return Ok(Next::Done(Outcome::Denied(Denial::Closed))),
        }
        match (&plan.way, &plan.groups) {
            (Way::Template(_), _) => {
                let (entry, attributes) = (found.entry.clone(), attributes(plan));
                let asked = Search {
                    base: &entry,
                    is_subtree: false,
                    entries_max: 1,
                    time_s: self.time_s,
                    filter: ANY,
                    attributes: &attributes,
                };
                Ok(self.send(State::Reading(found), |id| search(id, &asked)))
            }
            (Way::Search { account, .. }, Groups::Search { .. }) => {
                let password = self.account_password.clone();
                Ok(self.send(State::AccountAgain(found), |id| bind(id, account, &password)))
            }
            (Way::Search { .. }, Groups::None | Groups::Attribute(_)) => Ok(allowed(found)),
        }
    }

    fn reading(&mut self, mut found: Found, op: &Op<'_>, plan: &Plan) -> Result<Next, Trouble> {
        let denied = |cause| Ok(Next::Done(Outcome::Denied(cause)));
        match op {
            Op::Entry(entry) => self.note(&mut found, entry, plan)?,
            Op::Reference => {}
            Op::Done(result) => {
                return match result.code {
                    SUCCESS if found.entries != 1 => denied(Denial::Hidden),
                    NO_SUCH_ENTRY | NO_ACCESS => denied(Denial::Hidden),
                    SUCCESS if !found.is_named => denied(Denial::Spelling),
                    SUCCESS if found.groups.len() > GROUPS_MAX => denied(Denial::Groups),
                    SUCCESS if matches!(plan.groups, Groups::Search { .. }) => {
                        self.search_groups(found, plan)
                    }
                    SUCCESS => Ok(allowed(found)),
                    _ => Err(Trouble::refused("the reading of the user's entry", result)),
                };
            }
            _ => return Err(Trouble::Unexpected),
        }
        self.state = State::Reading(found);
        Ok(Next::Wait)
    }

    fn search_groups(&mut self, found: Found, plan: &Plan) -> Result<Next, Trouble> {
        let Groups::Search { base, filter } = &plan.groups else { return Err(Trouble::Unexpected) };
        let filter = filter.encode(self.values(&found.entry));
        let asked = Search {
            base,
            is_subtree: true,
            entries_max: u32::try_from(GROUPS_MAX).unwrap_or(u32::MAX),
            time_s: self.time_s,
            filter: &filter,
            attributes: &[],
        };
        Ok(self.send(State::Groups(found), |id| search(id, &asked)))
    }

    fn groups(&mut self, mut found: Found, op: &Op<'_>) -> Result<Next, Trouble> {
        match op {
            Op::Entry(entry) => found.groups.push(entry.name.to_owned()),
            Op::Reference => {}
            Op::Done(LdapResult { code: SUCCESS, .. }) => return Ok(allowed(found)),
            Op::Done(LdapResult { code: SIZE_LIMIT, .. }) => {
                return Ok(Next::Done(Outcome::Denied(Denial::Groups)));
            }
            Op::Done(result) => return Err(Trouble::refused("the search for groups", result)),
            _ => return Err(Trouble::Unexpected),
        }
        self.state = State::Groups(found);
        Ok(Next::Wait)
    }

    /// Notes what an entry says of the user. The name must be there once, letter by letter: a directory finds `Ann` when it
    /// is asked about `ann`, and one person must not be several identities.
    fn note(&self, found: &mut Found, entry: &Entry<'_>, plan: &Plan) -> Result<(), Malformed> {
        found.entries += 1;
        entry.name.clone_into(&mut found.entry);
        found.is_named = entry.values(&plan.identity_attribute, 1)? == [self.user.as_str()];
        if let Groups::Attribute(attribute) = &plan.groups {
            found.groups = entry.values(attribute, GROUPS_MAX)?.into_iter().map(str::to_owned).collect();
        }
        Ok(())
    }
}

fn attributes(plan: &Plan) -> Vec<&str> {
    let groups = if let Groups::Attribute(one) = &plan.groups { Some(one.as_str()) } else { None };
    std::iter::once(plan.identity_attribute.as_str()).chain(groups).collect()
}

fn accepted(what: &'static str, result: &LdapResult<'_>) -> Result<(), Trouble> {
    if result.code == SUCCESS { Ok(()) } else { Err(Trouble::refused(what, result)) }
}

fn allowed(found: Found) -> Next {
    Next::Done(Outcome::Allowed { entry: found.entry, groups: found.groups })
}

#[cfg(test)]
mod tests;
