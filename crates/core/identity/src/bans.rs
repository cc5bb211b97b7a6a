//! Bans: who is turned away for a while, why, by whom and until when. A ban always ends.
//!
//! Bans are bounded in number. Those that came by themselves give way to others, those that a person made do not.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::attempts::{Reader, RecordError, Writer, sealed, unsealed};

/// Bans at most.
pub const BANS_MAX: usize = 16_384;
/// The longest ban, in milliseconds: 30 days.
pub const BAN_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// Bytes of a name, a cause or a person in a ban.
const TEXT_BYTES_MAX: usize = 512;
/// A network may not be larger, so that nobody bans everybody.
const PREFIX_V4_MIN: u8 = 8;
const PREFIX_V6_MIN: u8 = 19;
const VERSION: u8 = 1;

/// Whom a ban is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BanSubject {
    /// Addresses: one, or a network.
    Addresses(IpNet),
    /// An identity.
    Identity(String),
    /// A Client Identifier.
    ClientId(String),
}

impl BanSubject {
    /// Reads `192.0.2.1`, `192.0.2.0/24`, `identity:NAME` or `client-id:ID`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BanError> {
        let named = |name: &str| match name.len() {
            1..=TEXT_BYTES_MAX => Ok(name.to_owned()),
            _ => Err(BanError::Subject),
        };
        if let Some(name) = text.strip_prefix("identity:") {
            return named(name).map(Self::Identity);
        }
        if let Some(id) = text.strip_prefix("client-id:") {
            return named(id).map(Self::ClientId);
        }
        let net: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().into(),
            Err(_) => text.parse().map_err(|_| BanError::Subject)?,
        };
        Self::addresses(net)
    }

    /// A network, if it is not too large.
    ///
    /// # Errors
    /// When it is.
    pub fn addresses(net: IpNet) -> Result<Self, BanError> {
        // Whoever comes by IPv4 is known by that address, however it is written.
        let net = match net {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
                Some(v4) => {
                    IpNet::new(IpAddr::V4(v4), v6.prefix_len() - 96).map_err(|_| BanError::Subject)?
                }
                None => net,
            },
            IpNet::V4(_) | IpNet::V6(_) => net,
        };
        let least = if matches!(net, IpNet::V4(_)) { PREFIX_V4_MIN } else { PREFIX_V6_MIN };
        if net.prefix_len() < least { Err(BanError::TooLarge) } else { Ok(Self::Addresses(net.trunc())) }
    }
}

impl std::fmt::Display for BanSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Addresses(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Addresses(net) => net.fmt(f),
            Self::Identity(name) => write!(f, "identity:{name}"),
            Self::ClientId(id) => write!(f, "client-id:{id}"),
        }
    }
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Whom it is about.
    pub subject: BanSubject,
    /// Why.
    pub cause: String,
    /// Who made it; `None`: the broker itself.
    pub by: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Why a ban is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// It is about nobody.
    #[error(
        "not an address, a network, identity:NAME or client-id:ID\n  remedy: write for instance 192.0.2.7, 192.0.2.0/24, identity:sensor-7 or client-id:sensor-7-a"
    )]
    Subject,
    /// It is about too many.
    #[error(
        "the network is too large to ban\n  remedy: ban /8 or less of IPv4, /19 or less of IPv6; a listener's `allow` keeps out more"
    )]
    TooLarge,
    /// It does not end, or at once.
    #[error(
        "a ban lasts more than nothing and at most 30 days\n  remedy: write for instance --for 12h; make it again when it ends, or use a listener's `deny`"
    )]
    Duration,
    /// There are as many as there may be.
    #[error(
        "there are as many bans as there may be\n  remedy: remove some, or ban networks instead of addresses"
    )]
    Full,
}

/// All bans.
#[derive(Debug, Default)]
pub struct Bans {
    addresses: HashMap<IpNet, Ban>,
    /// How many bans there are of each length of an IPv4 and an IPv6 network.
    lengths: [BTreeMap<u8, usize>; 2],
    identities: HashMap<String, Ban>,
    client_ids: HashMap<String, Ban>,
    changes: u64,
}

impl Bans {
    /// Grows with every change.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.addresses.len() + self.identities.len() + self.client_ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a ban, in place of one of the same subject unless that lasts longer and was made by a person.
    ///
    /// # Errors
    /// Why not.
    pub fn add(&mut self, ban: Ban, now_ms: u64) -> Result<(), BanError> {
        if ban.until_ms <= now_ms || ban.until_ms - now_ms > BAN_MS_MAX {
            return Err(BanError::Duration);
        }
        let known = self.of_subject(&ban.subject);
        if ban.by.is_none() && known.is_some_and(|known| known.by.is_some() && known.until_ms >= ban.until_ms)
        {
            return Ok(());
        }
        if known.is_none() && self.len() >= BANS_MAX && !self.make_room() {
            return Err(BanError::Full);
        }
        self.remove(&ban.subject);
        self.changes += 1;
        match &ban.subject {
            BanSubject::Addresses(net) => {
                *self.lengths_mut(net).entry(net.prefix_len()).or_default() += 1;
                self.addresses.insert(*net, ban);
            }
            BanSubject::Identity(name) => drop(self.identities.insert(name.clone(), ban)),
            BanSubject::ClientId(id) => drop(self.client_ids.insert(id.clone(), ban)),
        }
        Ok(())
    }

    /// Lifts a ban.
    pub fn remove(&mut self, subject: &BanSubject) -> Option<Ban> {
        let removed = match subject {
            BanSubject::Addresses(net) => {
                let removed = self.addresses.remove(net)?;
                let lengths = self.lengths_mut(net);
                if let Some(count) = lengths.get_mut(&net.prefix_len()) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        lengths.remove(&net.prefix_len());
                    }
                }
                removed
            }
            BanSubject::Identity(name) => self.identities.remove(name)?,
            BanSubject::ClientId(id) => self.client_ids.remove(id)?,
        };
        self.changes += 1;
        Some(removed)
    }

    /// Takes out what is over.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Ban> {
        let over: Vec<BanSubject> =
            self.all().filter(|ban| ban.until_ms <= now_ms).map(|ban| ban.subject.clone()).collect();
        over.iter().filter_map(|subject| self.remove(subject)).collect()
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Ban> {
        self.addresses.values().chain(self.identities.values()).chain(self.client_ids.values())
    }

    /// The ban of an address, the narrowest first.
    pub fn of_address(&self, address: IpAddr, now_ms: u64) -> Option<&Ban> {
        let address = address.to_canonical();
        let lengths = self.lengths.get(usize::from(address.is_ipv6()))?;
        lengths.keys().rev().find_map(|length| {
            let net = IpNet::new(address, *length).ok()?.trunc();
            self.addresses.get(&net).filter(|ban| ban.until_ms > now_ms)
        })
    }

    /// The ban of an identity.
    pub fn of_identity(&self, identity: &str, now_ms: u64) -> Option<&Ban> {
        self.identities.get(identity).filter(|ban| ban.until_ms > now_ms)
    }

    /// The ban of a Client Identifier.
    pub fn of_client_id(&self, client_id: &str, now_ms: u64) -> Option<&Ban> {
        self.client_ids.get(client_id).filter(|ban| ban.until_ms > now_ms)
    }

    /// The ban of a subject as it was written.
    pub fn of_subject(&self, subject: &BanSubject) -> Option<&Ban> {
        match subject {
            BanSubject::Addresses(net) => self.addresses.get(net),
            BanSubject::Identity(name) => self.identities.get(name),
            BanSubject::ClientId(id) => self.client_ids.get(id),
        }
    }

    fn lengths_mut(&mut self, net: &IpNet) -> &mut BTreeMap<u8, usize> {
        let [v4, v6] = &mut self.lengths;
        if matches!(net, IpNet::V4(_)) { v4 } else { v6 }
    }

    /// Lifts the ban of the broker's own that ends first.
    fn make_room(&mut self) -> bool {
        let own = self.all().filter(|ban| ban.by.is_none());
        let first = own.min_by_key(|ban| ban.until_ms).map(|ban| ban.subject.clone());
        first.is_some_and(|subject| self.remove(&subject).is_some())
    }

    /// As bytes, with a version and a checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.len() as u64);
        for ban in self.all() {
            out.bytes(ban.subject.to_string().as_bytes());
            out.bytes(cut(&ban.cause).as_bytes());
            out.u8(u8::from(ban.by.is_some()));
            out.bytes(cut(ban.by.as_deref().unwrap_or_default()).as_bytes());
            out.u64(ban.since_ms);
            out.u64(ban.until_ms);
        }
        sealed(VERSION, out)
    }

    /// As another run left them, without those that are over. A clock that was set back makes none longer than 30 days.
    ///
    /// # Errors
    /// When the bytes are not what [`Bans::encode`] wrote.
    pub fn decode(bytes: &[u8], now_ms: u64) -> Result<Self, RecordError> {
        let mut reader = unsealed(VERSION, bytes)?;
        let mut bans = Self::default();
        for _ in 0..reader.u64()? {
            let subject = BanSubject::parse(&text(&mut reader)?).map_err(|_| RecordError::Content)?;
            let cause = text(&mut reader)?;
            let by_person = reader.u8()? == 1;
            let by = text(&mut reader)?;
            let (since_ms, until_ms) = (reader.u64()?, reader.u64()?);
            let until_ms = until_ms.min(now_ms.saturating_add(BAN_MS_MAX));
            let ban = Ban { subject, cause, by: by_person.then_some(by), since_ms, until_ms };
            if until_ms > now_ms {
                bans.add(ban, now_ms).map_err(|_| RecordError::Content)?;
            }
        }
        reader.end()?;
        Ok(bans)
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, RecordError> {
    let bytes = reader.bytes()?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| RecordError::Content)
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(subject: &str, by: Option<&str>, until_ms: u64) -> Ban {
        Ban {
            subject: BanSubject::parse(subject).unwrap(),
            cause: "guessing".into(),
            by: by.map(Into::into),
            since_ms: 1,
            until_ms,
        }
    }

    #[test]
    fn subjects_are_read_as_they_are_shown() {
        for text in ["192.0.2.1", "192.0.2.0/24", "2001:db8::/64", "identity:a b", "client-id:x"] {
            assert_eq!(BanSubject::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(BanSubject::parse("192.0.2.9/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(BanSubject::parse("::ffff:192.0.2.9").unwrap().to_string(), "192.0.2.9");
        assert_eq!(BanSubject::parse("::ffff:192.0.2.9/120").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(BanSubject::parse("::ffff:0.0.0.0/96"), Err(BanError::TooLarge));
        for wrong in ["", "x", "identity:", "192.0.2.0/33"] {
            assert_eq!(BanSubject::parse(wrong), Err(BanError::Subject), "{wrong}");
        }
        assert_eq!(BanSubject::parse("0.0.0.0/0"), Err(BanError::TooLarge));
        assert_eq!(BanSubject::parse("::/0"), Err(BanError::TooLarge));
    }

    #[test]
    fn a_ban_covers_its_network_and_ends() {
        let mut bans = Bans::default();
        bans.add(ban("192.0.2.0/24", None, 1_000), 1).unwrap();
        bans.add(ban("2001:db8::/64", Some("ann"), 2_000), 1).unwrap();
        let of = |bans: &Bans, address: &str, now_ms| {
            bans.of_address(address.parse().unwrap(), now_ms).map(|ban| ban.subject.to_string())
        };
        assert_eq!(of(&bans, "192.0.2.7", 999).unwrap(), "192.0.2.0/24");
        assert_eq!(of(&bans, "::ffff:192.0.2.7", 999).unwrap(), "192.0.2.0/24");
        assert_eq!(of(&bans, "192.0.2.7", 1_000), None);
        assert_eq!(of(&bans, "192.0.3.7", 1), None);
        assert_eq!(of(&bans, "2001:db8::9", 1).unwrap(), "2001:db8::/64");
        assert_eq!(bans.expire(1_000).len(), 1);
        assert_eq!(bans.len(), 1);
    }

    #[test]
    fn no_ban_is_for_ever() {
        let mut bans = Bans::default();
        assert_eq!(bans.add(ban("192.0.2.1", None, u64::MAX), 1), Err(BanError::Duration));
        assert_eq!(bans.add(ban("192.0.2.1", None, 1), 1), Err(BanError::Duration));
        bans.add(ban("192.0.2.1", None, BAN_MS_MAX + 5), 5).unwrap();
        let again = Bans::decode(&bans.encode(), 1).unwrap();
        assert_eq!(again.all().next().unwrap().until_ms, 1 + BAN_MS_MAX);
    }

    #[test]
    fn what_a_person_made_does_not_give_way_to_what_came_by_itself() {
        let mut bans = Bans::default();
        bans.add(ban("192.0.2.1", Some("ann"), 5_000), 1).unwrap();
        bans.add(ban("192.0.2.1", None, 1_000), 1).unwrap();
        assert_eq!(bans.all().next().unwrap().until_ms, 5_000);
        for number in 1..BANS_MAX {
            bans.add(ban(&format!("identity:{number}"), Some("ann"), 5_000), 1).unwrap();
        }
        assert_eq!(bans.add(ban("192.0.2.2", None, 1_000), 1), Err(BanError::Full));
        bans.remove(&BanSubject::parse("identity:1").unwrap()).unwrap();
        bans.add(ban("192.0.2.2", None, 1_000), 1).unwrap();
        bans.add(ban("192.0.2.3", Some("ann"), 1_000), 1).unwrap();
        assert_eq!(bans.of_address("192.0.2.2".parse().unwrap(), 1), None, "the broker's own gave way");
    }

    #[test]
    fn bans_are_kept_whole_or_not_at_all() {
        let mut bans = Bans::default();
        bans.add(ban("192.0.2.0/24", Some("ann"), 5_000), 1).unwrap();
        bans.add(ban("client-id:x", None, 1_000), 1).unwrap();
        let bytes = bans.encode();
        let again = Bans::decode(&bytes, 2).unwrap();
        let sorted = |bans: &Bans| {
            let mut all: Vec<Ban> = bans.all().cloned().collect();
            all.sort_by_key(|ban| ban.until_ms);
            all
        };
        assert_eq!(sorted(&bans), sorted(&again));
        assert_eq!(Bans::decode(&bytes, 1_000).unwrap().len(), 1);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Bans::decode(&damaged, 2).is_err(), "byte {at}");
            assert!(Bans::decode(&bytes[..at], 2).is_err(), "cut at {at}");
        }
    }
}
