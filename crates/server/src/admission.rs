//! How many connections there may be: in all, from one address, of one identity.
//!
//! A connection holds a [`Seat`]; dropping it gives the place back, whatever way the connection ended.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

const SHELVES: usize = 16;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) connections: u32,
    pub(crate) per_address: u32,
    pub(crate) per_identity: u32,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Process,
    Address,
    Identity,
    Rate,
}

impl Full {
    /// The configuration key that bounds it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Process => "connections_max",
            Self::Address => "connections_per_address_max",
            Self::Identity => "connections_per_identity_max",
            Self::Rate => "auth.attempts.connections_per_second",
        }
    }
}

/// Counts by key, spread over locks that are held for one map operation.
#[derive(Debug)]
struct Counts<K> {
    shelves: [Mutex<FxHashMap<K, u32>>; SHELVES],
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    fn new() -> Self {
        Self { shelves: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    fn place(&self, key: &K) -> Option<&Mutex<FxHashMap<K, u32>>> {
        let at = usize::try_from(self.hasher.hash_one(key) % SHELVES as u64).unwrap_or(0);
        self.shelves.get(at)
    }

    fn take(&self, key: &K, most: u32) -> bool {
        let Some(place) = self.place(key) else { return false };
        let mut counts = place.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(key) {
            Some(count) if *count >= most => false,
            Some(count) => {
                *count += 1;
                true
            }
            None if most == 0 => false,
            None => {
                counts.insert(key.clone(), 1);
                true
            }
        }
    }

    fn give_back(&self, key: &K) {
        let Some(place) = self.place(key) else { return };
        let mut counts = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}

#[derive(Debug)]
struct State {
    connections: AtomicU32,
    connections_max: AtomicU32,
    per_address_max: AtomicU32,
    per_identity_max: AtomicU32,
    addresses: Counts<IpAddr>,
    identities: Counts<Arc<str>>,
}

/// The hall that connections are let into; a clone is another door to the same.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    state: Arc<State>,
}

impl Admission {
    /// Empty, with bounds.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State {
            connections: AtomicU32::new(0),
            connections_max: AtomicU32::new(bounds.connections),
            per_address_max: AtomicU32::new(bounds.per_address),
            per_identity_max: AtomicU32::new(bounds.per_identity),
            addresses: Counts::new(),
            identities: Counts::new(),
        };
        Self { state: Arc::new(state) }
    }

    /// Changes the bounds; whoever is in stays.
    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        self.state.connections_max.store(bounds.connections, Ordering::Relaxed);
        self.state.per_address_max.store(bounds.per_address, Ordering::Relaxed);
        self.state.per_identity_max.store(bounds.per_identity, Ordering::Relaxed);
    }

    /// A seat for a connection whose address is not known yet.
    pub(crate) fn seat(&self) -> Result<Seat, Full> {
        let most = self.state.connections_max.load(Ordering::Relaxed);
        if self.state.connections.fetch_add(1, Ordering::Relaxed) >= most {
            self.state.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Process);
        }
        Ok(Seat { state: Arc::clone(&self.state), address: None, identity: None })
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    state: Arc<State>,
    address: Option<IpAddr>,
    identity: Option<Arc<str>>,
}

impl Seat {
    /// Counts the seat for an address, once it is known. An IPv6 address counts for its /64: that is what one
    /// subscriber has.
    pub(crate) fn count_address(&mut self, address: IpAddr) -> Result<(), Full> {
        if self.address.is_some() {
            return Ok(());
        }
        let address = network(address);
        if !self.state.addresses.take(&address, self.state.per_address_max.load(Ordering::Relaxed)) {
            return Err(Full::Address);
        }
        self.address = Some(address);
        Ok(())
    }

    /// Counts the seat for an identity.
    pub(crate) fn count_identity(&mut self, identity: &Arc<str>) -> Result<(), Full> {
        if self.identity.is_some() {
            return Ok(());
        }
        if !self.state.identities.take(identity, self.state.per_identity_max.load(Ordering::Relaxed)) {
            return Err(Full::Identity);
        }
        self.identity = Some(Arc::clone(identity));
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(address) = &self.address {
            self.state.addresses.give_back(address);
        }
        if let Some(identity) = &self.identity {
            self.state.identities.give_back(identity);
        }
        self.state.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(connections: u32, per_address: u32, per_identity: u32) -> Bounds {
        Bounds { connections, per_address, per_identity }
    }

    #[test]
    fn a_seat_that_is_dropped_is_free_again() {
        let admission = Admission::new(bounds(1, 1, 1));
        let seat = admission.seat().unwrap();
        assert_eq!(admission.seat().unwrap_err(), Full::Process);
        drop(seat);
        assert!(admission.seat().is_ok());
    }

    #[test]
    fn addresses_and_identities_are_counted_apart() {
        let admission = Admission::new(bounds(10, 2, 1));
        let [one, two]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let device: Arc<str> = Arc::from("device");
        let mut seats: Vec<Seat> = (0..3).map(|_| admission.seat().unwrap()).collect();
        assert!(seats[0].count_address(one).is_ok());
        assert!(seats[1].count_address(one).is_ok());
        assert_eq!(seats[2].count_address(one), Err(Full::Address));
        assert!(seats[2].count_address(two).is_ok());
        assert!(seats[0].count_identity(&device).is_ok());
        assert_eq!(seats[1].count_identity(&device), Err(Full::Identity));
        seats.clear();
        let mut seat = admission.seat().unwrap();
        assert!(seat.count_address(one).is_ok() && seat.count_identity(&device).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_address_and_mapped_ipv4_is_ipv4() {
        let admission = Admission::new(bounds(10, 1, 10));
        let addresses = ["2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8:0:1::1"];
        let seats: Vec<_> = addresses
            .iter()
            .map(|address| {
                let mut seat = admission.seat().unwrap();
                let counted = seat.count_address(address.parse().unwrap());
                (seat, counted.is_ok())
            })
            .collect();
        let taken: Vec<bool> = seats.iter().map(|(_, taken)| *taken).collect();
        assert_eq!(taken, [true, false, true, false, true]);
    }
}
