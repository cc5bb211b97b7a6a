//! Who may try, and what a failure costs.

use std::net::IpAddr;

use super::limits::{AttemptLimits, NETWORK_FACTOR};
use super::strikes::{Known, Strike, Strikes};
use super::table::Table;
use super::tag::{Tag, TagKey};

/// What failures are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The address; of IPv6, what one subscriber has.
    Address,
    /// The network around it.
    Network,
    /// The name that was tried.
    Identity,
    /// The Client Identifier.
    ClientId,
}

impl Scope {
    /// In the order of the counters.
    pub(crate) const ALL: [Self; 4] = [Self::Address, Self::Network, Self::Identity, Self::ClientId];

    /// Its name in events: `address`, `network`, `identity`, `client id`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Network => "network",
            Self::Identity => "identity",
            Self::ClientId => "client id",
        }
    }

    fn factor(self) -> u16 {
        if self == Self::Network { NETWORK_FACTOR } else { 1 }
    }
}

/// Kinds of tags beyond the four scopes. Their numbers are part of the file's format.
const CERTIFICATE: u8 = 4;
const SESSION: u8 = 5;
const FROM_ADDRESS: u8 = 6;
const FROM_NETWORK: u8 = 7;
const HEALTHY_ADDRESS: u8 = 8;

/// An attempt to log in, before anything of it was checked but the certificate.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The peer's address; `None` on this machine's own sockets.
    pub address: Option<IpAddr>,
    /// The name that is tried; empty when none is claimed.
    pub name: &'a str,
    /// The Client Identifier, empty when the client asks for one.
    pub client_id: &'a str,
    /// Fingerprint of a certificate that TLS verified.
    pub certificate: Option<&'a str>,
}

/// Whether the attempt may go on.
#[derive(Debug)]
pub enum Begun {
    /// It may; say what became of it.
    Admitted(Charge),
    /// Not now; nothing was charged.
    Held {
        /// What is held.
        by: Scope,
        /// Until when.
        until_ms: u64,
    },
}

/// An attempt that is under way. It must be given back once, to [`Attempts::succeeded`], [`Attempts::failed`] or
/// [`Attempts::abandoned`].
#[derive(Debug)]
#[must_use = "an attempt that is not given back stays charged"]
pub struct Charge {
    scopes: [Option<Tag>; 4],
    /// The certificate, then what may have proved itself before.
    proofs: [Option<Tag>; 4],
    healthy_address: Option<Tag>,
}

/// What a failure came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// For how long the answer is to be put off, in milliseconds.
    pub answer_delay_ms: u64,
    /// What is locked out by this failure.
    pub locked: Vec<Scope>,
    /// For how long, in milliseconds.
    pub lockout_ms: u64,
    /// Nobody is known to have logged in from this address, so that all of it may be turned away.
    pub address_unknown: bool,
}

/// The counters.
#[derive(Debug)]
pub struct Attempts {
    pub(super) limits: AttemptLimits,
    pub(super) key: TagKey,
    pub(super) strikes: [Table<Strikes>; 4],
    /// Names from their addresses and networks, and certificates.
    pub(super) known: Table<Known>,
    /// Names with their Client Identifiers from their addresses.
    pub(super) sessions: Table<Known>,
    /// Addresses from which somebody logged in.
    pub(super) healthy: Table<Known>,
    pub(super) changes: u64,
}

impl Attempts {
    /// Empty.
    pub fn new(limits: AttemptLimits, key: TagKey) -> Self {
        let entries = limits.entries;
        Self {
            limits,
            key,
            strikes: std::array::from_fn(|_| Table::new(entries)),
            known: Table::new(entries),
            sessions: Table::new(entries),
            healthy: Table::new(entries),
            changes: 0,
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &AttemptLimits {
        &self.limits
    }

    /// Other limits from now on; the number of entries stays.
    pub fn set_limits(&mut self, limits: AttemptLimits) {
        self.limits = AttemptLimits { entries: self.limits.entries, ..limits };
    }

    /// Grows with everything worth keeping over a restart.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether somebody logged in from this address within the last 30 days.
    pub fn is_healthy(&self, address: IpAddr, now_ms: u64) -> bool {
        let tag = self.healthy_tag(address);
        self.healthy.get(tag).is_some_and(|known| known.is_known(now_ms))
    }

    /// Forgets the failures of an address, as when a ban of it is lifted; false when there were none.
    pub fn forget_address(&mut self, address: IpAddr) -> bool {
        let tag = self.key.tag(0, &[&octets(self.limits.address(address))]);
        let Some(strikes) = self.strikes.first_mut().and_then(|table| table.get_mut(tag)) else {
            return false;
        };
        let had = strikes.failures > 0;
        *strikes = Strikes { pending: strikes.pending, ..Strikes::default() };
        self.changes += 1;
        had
    }

    /// An attempt is about to begin. Whatever it costs to check comes after this.
    pub fn begin(&mut self, attempt: Attempt<'_>, now_ms: u64) -> Begun {
        let charge = self.charge_of(attempt);
        let held = self.held(&charge, now_ms, false);
        if let Some(Begun::Held { by, until_ms }) = held
            && !self.has_allowance(&charge, now_ms, false)
        {
            return Begun::Held { by, until_ms };
        }
        for ((table, tag), scope) in self.strikes.iter_mut().zip(charge.scopes).zip(Scope::ALL) {
            let limits = &self.limits;
            let make = |displaced: Option<&Strikes>| Strikes::instead_of(displaced, limits, scope.factor());
            if let Some(strikes) = tag.and_then(|tag| table.entry(tag, now_ms, make)) {
                strikes.charge(now_ms);
            }
        }
        self.for_each_known(&charge, now_ms, |strikes, _| strikes.charge(now_ms));
        Begun::Admitted(charge)
    }

    /// What holds an attempt that is under way by now, because others failed since it began. Asked right before the costly
    /// check, it makes a thousand attempts at once worth no more than a few.
    pub fn held_meanwhile(&self, charge: &Charge, now_ms: u64) -> Option<Scope> {
        match self.held(charge, now_ms, true) {
            Some(Begun::Held { by, .. }) if !self.has_allowance(charge, now_ms, true) => Some(by),
            _ => None,
        }
    }

    /// It succeeded: what it came with has proved itself.
    pub fn succeeded(&mut self, charge: &Charge, now_ms: u64) {
        self.refund(charge);
        self.changes += 1;
        let seen = |table: &mut Table<Known>, tag: Option<Tag>| {
            if let Some(known) = tag.and_then(|tag| table.owned_entry(tag, now_ms, |_| Known::default())) {
                let pending = known.strikes.pending.saturating_sub(u16::from(known.is_known(now_ms)));
                known.strikes = Strikes { pending, ..Strikes::default() };
                known.seen_ms = now_ms.max(1);
            }
        };
        let [certificate, session, from_address, from_network] = charge.proofs;
        for tag in [certificate, from_address, from_network] {
            seen(&mut self.known, tag);
        }
        seen(&mut self.sessions, session);
        seen(&mut self.healthy, charge.healthy_address);
    }

    /// Somebody logged in who did not have to be charged, by a certificate.
    pub fn seen_healthy(&mut self, address: IpAddr, now_ms: u64) {
        let tag = self.healthy_tag(address);
        if let Some(known) = self.healthy.entry(tag, now_ms, |_| Known::default()) {
            known.seen_ms = now_ms.max(1);
            self.changes += 1;
        }
    }

    /// It failed.
    pub fn failed(&mut self, charge: &Charge, now_ms: u64) -> Failed {
        let (mut locked, mut hold_ms) = (Vec::new(), 0);
        let limits = self.limits;
        for ((table, tag), scope) in self.strikes.iter_mut().zip(charge.scopes).zip(Scope::ALL) {
            let make = |displaced: Option<&Strikes>| Strikes::instead_of(displaced, &limits, scope.factor());
            let Some(strikes) = tag.and_then(|tag| table.entry(tag, now_ms, make)) else { continue };
            let Strike { hold_ms: hold, locked: is_locked } = strikes.fail(now_ms, &limits, scope.factor());
            hold_ms = hold_ms.max(hold);
            if is_locked {
                locked.push(scope);
            }
        }
        self.for_each_known(charge, now_ms, |strikes, limits| {
            // Its consequence is in the strikes; the answer is put off by the counters of all.
            let _ = strikes.fail(now_ms, limits, 1);
        });
        self.changes += 1;
        let healthy = charge.healthy_address.and_then(|tag| self.healthy.get(tag));
        Failed {
            answer_delay_ms: AttemptLimits::answer_delay_ms(hold_ms),
            locked,
            lockout_ms: limits.lockout_ms,
            address_unknown: charge.healthy_address.is_some()
                && !healthy.is_some_and(|known| known.is_known(now_ms)),
        }
    }

    /// It came to nothing: nobody was asked.
    pub fn abandoned(&mut self, charge: &Charge, now_ms: u64) {
        self.refund(charge);
        self.for_each_known(charge, now_ms, |strikes, _| strikes.refund());
    }

    fn charge_of(&self, attempt: Attempt<'_>) -> Charge {
        let Attempt { address, name, client_id, certificate } = attempt;
        let one = address.map(|address| octets(self.limits.address(address)));
        let network = address.map(|address| octets(self.limits.network(address)));
        let tag = |kind: u8, parts: &[&[u8]]| Some(self.key.tag(kind, parts));
        let (one, network) = (one.as_ref(), network.as_ref());
        // On this machine's own sockets there is no address; what logged in there is known as coming from there.
        let place = one.map_or(&[][..], |one| &one[..]);
        let around = network.map_or(&[][..], |network| &network[..]);
        // So that nobody with a valid account pushes out what is known of others. Those without a name have not one owner, but
        // one for each address.
        let whose = if name.is_empty() { place } else { name.as_bytes() };
        let owned = |kind: u8, parts: &[&[u8]]| Some(self.key.owned(kind, whose, parts));
        Charge {
            scopes: [
                one.and_then(|one| tag(0, &[one])),
                network.and_then(|network| tag(1, &[network])),
                tag(2, &[name.as_bytes()]).filter(|_| !name.is_empty()),
                tag(3, &[client_id.as_bytes()]).filter(|_| !client_id.is_empty()),
            ],
            proofs: [
                certificate.and_then(|print| tag(CERTIFICATE, &[print.as_bytes()])),
                owned(SESSION, &[name.as_bytes(), client_id.as_bytes(), place]),
                owned(FROM_ADDRESS, &[name.as_bytes(), place]),
                owned(FROM_NETWORK, &[name.as_bytes(), around]),
            ],
            healthy_address: one.and_then(|one| tag(HEALTHY_ADDRESS, &[one])),
        }
    }

    fn healthy_tag(&self, address: IpAddr) -> Tag {
        self.key.tag(HEALTHY_ADDRESS, &[&octets(self.limits.address(address))])
    }

    /// The longest hold on what an attempt comes with.
    fn held(&self, charge: &Charge, now_ms: u64, under_way: bool) -> Option<Begun> {
        let each = self.strikes.iter().zip(charge.scopes).zip(Scope::ALL);
        let held = each.filter_map(|((table, tag), by)| {
            let until_ms = table.get(tag?)?.held_until(now_ms, &self.limits, by.factor(), under_way)?;
            Some((until_ms, by))
        });
        held.max_by_key(|(until_ms, _)| *until_ms).map(|(until_ms, by)| Begun::Held { by, until_ms })
    }

    /// Whether something of it proved itself before and has allowance left. A certificate that TLS verified proves itself.
    fn has_allowance(&self, charge: &Charge, now_ms: u64, under_way: bool) -> bool {
        let [certificate, session, from_address, from_network] = charge.proofs;
        let free = |known: &Known| known.strikes.held_until(now_ms, &self.limits, 1, under_way).is_none();
        let before = |table: &Table<Known>, tag: Option<Tag>| {
            tag.and_then(|tag| table.get(tag)).is_some_and(|known| known.is_known(now_ms) && free(known))
        };
        certificate.is_some_and(|tag| self.known.get(tag).is_none_or(free))
            || before(&self.sessions, session)
            || before(&self.known, from_address)
            || before(&self.known, from_network)
    }

    fn refund(&mut self, charge: &Charge) {
        for (table, tag) in self.strikes.iter_mut().zip(charge.scopes) {
            if let Some(strikes) = tag.and_then(|tag| table.get_mut(tag)) {
                strikes.refund();
            }
        }
    }

    /// What an attempt comes with that has an allowance of its own.
    fn for_each_known(
        &mut self,
        charge: &Charge,
        now_ms: u64,
        mut each: impl FnMut(&mut Strikes, &AttemptLimits),
    ) {
        let [certificate, session, from_address, from_network] = charge.proofs;
        let proved = certificate.and_then(|tag| {
            self.known.entry(tag, now_ms, |_| Known { seen_ms: now_ms.max(1), ..Known::default() })
        });
        if let Some(known) = proved {
            each(&mut known.strikes, &self.limits);
        }
        let limits = &self.limits;
        let mut of = |table: &mut Table<Known>, tag: Option<Tag>| {
            let known = tag.and_then(|tag| table.get_mut(tag)).filter(|known| known.is_known(now_ms));
            if let Some(known) = known {
                each(&mut known.strikes, limits);
            }
        };
        of(&mut self.sessions, session);
        of(&mut self.known, from_address);
        of(&mut self.known, from_network);
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::table::OWNED_WAYS;
    use crate::attempts::tag::OWNED_SETS;

    fn enter(attempts: &mut Attempts, name: &str, client_id: &str, now_ms: u64) -> Tag {
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let attempt = Attempt { address, name, client_id, certificate: None };
        let Begun::Admitted(charge) = attempts.begin(attempt, now_ms) else { unreachable!() };
        attempts.succeeded(&charge, now_ms);
        charge.proofs[1].unwrap()
    }

    #[test]
    fn one_account_with_many_client_identifiers_pushes_out_a_few_others_at_most() {
        let limits = AttemptLimits { entries: 4_096, ..AttemptLimits::default() };
        let mut attempts = Attempts::new(limits, TagKey::new([7; 32]));
        let tags: Vec<Tag> =
            (0..1_000).map(|n| enter(&mut attempts, &format!("device-{n}"), "own", 1_000 + n)).collect();
        let known =
            |attempts: &Attempts| tags.iter().filter(|tag| attempts.sessions.get(**tag).is_some()).count();
        let before = known(&attempts);
        for n in 0..20_000_u64 {
            enter(&mut attempts, "thief", &format!("session-{n}"), 10_000 + n);
        }
        let most = usize::try_from(OWNED_SETS).unwrap() * OWNED_WAYS;
        assert!(before - known(&attempts) <= most, "{before} {}", known(&attempts));
        let all = attempts.sessions.entries(40_000).count();
        assert!(all <= before + most, "{all}");
        let last = enter(&mut attempts, "thief", "session-19999", 50_000);
        assert!(attempts.sessions.get(last).is_some(), "what it used last is known");
    }
}
