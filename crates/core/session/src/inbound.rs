//! Publications from the client: which QoS 2 identifiers are open, and how many count against Receive Maximum.

use motte_wire::PacketId;

/// What a PUBLISH with QoS 2 is, judged by its Packet Identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The identifier was free: a new publication.
    New,
    /// The identifier is open: the same publication sent again; acknowledge it and route nothing (MQTT-4.3.3-10).
    Again,
    /// One more than Receive Maximum: a protocol error (MQTT-3.3.4-8, reason 0x93).
    TooMany,
}

/// The receiving half of QoS 2 (method A/B of the standard: identifiers only, the message is routed on arrival).
#[derive(Debug, Clone, Default)]
pub struct Inbound {
    /// Open identifiers in ascending order; at most `Receive Maximum` of them.
    open: Vec<u16>,
}

impl Inbound {
    /// Judges a PUBLISH with QoS 2 and opens its identifier if it is new.
    pub fn publish(&mut self, id: PacketId, receive_maximum: u16) -> Received {
        match self.open.binary_search(&id.value()) {
            Ok(_) => Received::Again,
            Err(_) if self.open.len() >= usize::from(receive_maximum) => Received::TooMany,
            Err(at) => {
                self.open.insert(at, id.value());
                Received::New
            }
        }
    }

    /// Whether an identifier is open: its message was taken and is not released.
    pub fn is_open(&self, id: PacketId) -> bool {
        self.open.binary_search(&id.value()).is_ok()
    }

    /// Closes an identifier on PUBREL, or when PUBREC carried a failure. `false`: it was not open
    /// (5.0: PUBCOMP with 0x92, MQTT-4.3.3-11).
    pub fn release(&mut self, id: PacketId) -> bool {
        match self.open.binary_search(&id.value()) {
            Ok(at) => {
                self.open.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Open identifiers, ascending.
    pub fn open(&self) -> &[u16] {
        &self.open
    }

    /// Restores open identifiers after a restart; zero and repeated ones are left out.
    pub fn restore(ids: impl IntoIterator<Item = u16>) -> Self {
        let mut open: Vec<u16> = ids.into_iter().filter(|id| *id != 0).collect();
        open.sort_unstable();
        open.dedup();
        Self { open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn a_second_publish_with_an_open_identifier_is_the_same_message() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.publish(id(7), 2), Received::New);
        assert_eq!(inbound.publish(id(7), 2), Received::Again);
        assert!(inbound.release(id(7)));
        assert!(!inbound.release(id(7)));
        assert_eq!(inbound.publish(id(7), 2), Received::New);
    }

    #[test]
    fn more_open_identifiers_than_receive_maximum_are_refused() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.publish(id(9), 2), Received::New);
        assert_eq!(inbound.publish(id(3), 2), Received::New);
        assert_eq!(inbound.publish(id(5), 2), Received::TooMany);
        assert_eq!(inbound.open(), &[3, 9]);
    }
}
