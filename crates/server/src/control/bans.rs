//! Bans: a page of them, a new one, the end of one.

use motte_identity::bans::{BanError, BanSubject};
use motte_roles::{BANS_PAGE_MAX, BanPage, BanStatus, CoreAnswer, Operator};

use super::{Control, operator_name};
use crate::clock::unix_ms;
use crate::logins::Logins;

/// Characters of a cause.
const CAUSE_MAX: usize = 200;

impl Control {
    pub(super) fn bans(&self, from: u32) -> CoreAnswer {
        let Some(logins) = self.logins() else { return stopping() };
        let all = logins.bans();
        let from = (from as usize).min(all.len());
        let page = all.iter().skip(from).take(usize::from(BANS_PAGE_MAX));
        let bans: Vec<BanStatus> = page
            .map(|ban| BanStatus {
                subject: ban.subject.to_string(),
                cause: ban.cause.clone(),
                by: ban.by.clone(),
                since_unix_ms: ban.since_ms,
                until_unix_ms: ban.until_ms,
            })
            .collect();
        let more = from + bans.len() < all.len();
        CoreAnswer::Bans { page: BanPage { bans, more } }
    }

    pub(super) fn ban(&self, operator: &Operator, subject: &str, cause: &str, for_s: u64) -> CoreAnswer {
        let Some(logins) = self.logins() else { return stopping() };
        let cause: String = cause.chars().take(CAUSE_MAX).collect();
        let ban = |subject| {
            logins.ban(subject, &cause, Some(&operator_name(operator)), for_s.saturating_mul(1_000))
        };
        match BanSubject::parse(subject).and_then(ban) {
            Ok(()) => CoreAnswer::Done,
            Err(error) => refused(error),
        }
    }

    /// Whether a ban takes the place of one of the same subject that lasts longer: that lifts what is left of the longer one.
    pub(super) fn shortens(&self, subject: &str, for_s: u64) -> bool {
        let (Some(logins), Ok(subject)) = (self.logins(), BanSubject::parse(subject)) else { return false };
        let until_ms = unix_ms().saturating_add(for_s.saturating_mul(1_000));
        logins.bans().iter().any(|ban| ban.subject == subject && ban.until_ms > until_ms)
    }

    pub(super) fn unban(&self, operator: &Operator, subject: &str) -> CoreAnswer {
        let Some(logins) = self.logins() else { return stopping() };
        match BanSubject::parse(subject) {
            Ok(subject) if logins.unban(&subject, &operator_name(operator)) => CoreAnswer::Done,
            Ok(_) => CoreAnswer::Refused {
                cause: "nothing of that name is banned or held\n  remedy: see `motte bans list`".to_owned(),
            },
            Err(error) => refused(error),
        }
    }

    fn logins(&self) -> Option<Logins> {
        self.facts().logins.clone()
    }
}

fn refused(error: BanError) -> CoreAnswer {
    CoreAnswer::Refused { cause: error.to_string() }
}

fn stopping() -> CoreAnswer {
    CoreAnswer::Refused { cause: "the broker stops\n  remedy: ask when it runs again".to_owned() }
}
