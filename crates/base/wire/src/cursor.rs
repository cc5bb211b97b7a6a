//! Reading a packet's body: a cursor that cannot run past the end, and knows whose body it reads.

use crate::error::MalformedPacket;
use crate::text::TextRules;
use crate::version::PacketId;

/// A position in a packet's body.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    packet: &'static str,
    text: TextRules,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8], packet: &'static str, text: TextRules) -> Self {
        Self { rest: body, packet, text }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A cursor over other bytes of the same packet.
    pub(crate) fn over(&self, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, packet: self.packet, text: self.text }
    }

    pub(crate) fn wrong(
        &self,
        field: &'static str,
        what: &'static str,
        statement: &'static str,
    ) -> MalformedPacket {
        MalformedPacket::new(self.packet, field, what, statement)
    }

    fn short(&self, field: &'static str) -> MalformedPacket {
        self.wrong(field, "the packet ends too early", "5.0 section 4.13")
    }

    pub(crate) fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], MalformedPacket> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.short(field)),
        }
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, MalformedPacket> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => Err(self.short(field)),
        }
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, MalformedPacket> {
        match self.rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u16::from_be_bytes(*bytes))
            }
            None => Err(self.short(field)),
        }
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, MalformedPacket> {
        match self.rest.split_first_chunk::<4>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u32::from_be_bytes(*bytes))
            }
            None => Err(self.short(field)),
        }
    }

    /// A variable byte integer, in its shortest form (MQTT-1.5.5-1).
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u32, MalformedPacket> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if shift > 0 && byte == 0 {
                    return Err(self.wrong(
                        field,
                        "a length that is not in its shortest form",
                        "MQTT-1.5.5-1",
                    ));
                }
                return Ok(value);
            }
        }
        Err(self.wrong(field, "a length of more than four bytes", "MQTT-1.5.5-1"))
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], MalformedPacket> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A UTF-8 string (5.0 section 1.5.4).
    #[inline]
    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, MalformedPacket> {
        let bytes = self.bytes(field)?;
        self.text.check(bytes).map_err(|fault| self.wrong(field, fault.what(), fault.statement()))
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, MalformedPacket> {
        let value = self.u16("Packet Identifier")?;
        PacketId::new(value).ok_or_else(|| self.wrong("Packet Identifier", "zero", "MQTT-2.2.1-3").protocol())
    }

    pub(crate) fn end(&self) -> Result<(), MalformedPacket> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.wrong("payload", "bytes after the end", "5.0 section 4.13"))
        }
    }
}
