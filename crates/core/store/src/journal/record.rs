//! One change of state as it lies in a block: length (u32), kind (u8) and the fields of the kind. All integers are
//! little-endian and of fixed width, so that a record is read without a branch for each byte.

/// Length and kind.
pub(crate) const HEAD_BYTES: usize = 5;
/// Bytes of a delivery's record besides its shape.
pub(crate) const DELIVERY_BYTES: usize = HEAD_BYTES + 8 + 8 + 8 + 2 + 1;
/// Bytes of a state's record.
pub(crate) const STATE_BYTES: usize = HEAD_BYTES + 8 + 8 + 2 + 1;
/// Bytes of an inbound Packet Identifier's record.
pub(crate) const INBOUND_BYTES: usize = HEAD_BYTES + 8 + 2;

/// Bit 2 of a delivery's flags: RETAIN.
pub(crate) const FLAG_RETAIN: u8 = 4;
/// Bit 3 of a delivery's flags: PUBREL was sent, the message is not needed any more.
pub(crate) const FLAG_RELEASED: u8 = 8;

/// Segments that can hold what a removal removes; the segment of the removal itself needs no mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    PutSession { session: u64, value: &'a [u8] },
    RemoveSession { span: Span, session: u64 },
    PutPublication { id: u64, value: &'a [u8] },
    PutDelivery { session: u64, seq: u64, publication: u64, packet_id: u16, flags: u8, shape: &'a [u8] },
    SetState { session: u64, seq: u64, packet_id: u16, flags: u8 },
    RemoveDelivery { span: Span, session: u64, seq: u64 },
    PutRetained { publication: u64, topic: &'a str },
    RemoveRetained { span: Span, topic: &'a str },
    PutWill { session: u64, value: &'a [u8] },
    RemoveWill { span: Span, session: u64 },
    PutFact { name: &'a str, value: &'a [u8] },
    RemoveFact { span: Span, name: &'a str },
    PutInbound { session: u64, packet_id: u16 },
    RemoveInbound { span: Span, session: u64, packet_id: u16 },
}

impl Record<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::PutSession { .. } => 1,
            Self::RemoveSession { .. } => 2,
            Self::PutPublication { .. } => 3,
            Self::PutDelivery { .. } => 4,
            Self::SetState { .. } => 5,
            Self::RemoveDelivery { .. } => 6,
            Self::PutRetained { .. } => 7,
            Self::RemoveRetained { .. } => 8,
            Self::PutWill { .. } => 9,
            Self::RemoveWill { .. } => 10,
            Self::PutFact { .. } => 11,
            Self::RemoveFact { .. } => 12,
            Self::PutInbound { .. } => 13,
            Self::RemoveInbound { .. } => 14,
        }
    }

    /// The span, if this is a removal.
    pub(crate) fn span(&self) -> Option<Span> {
        match self {
            Self::RemoveSession { span, .. }
            | Self::RemoveDelivery { span, .. }
            | Self::RemoveRetained { span, .. }
            | Self::RemoveWill { span, .. }
            | Self::RemoveFact { span, .. }
            | Self::RemoveInbound { span, .. } => Some(*span),
            Self::PutSession { .. }
            | Self::PutPublication { .. }
            | Self::PutDelivery { .. }
            | Self::SetState { .. }
            | Self::PutRetained { .. }
            | Self::PutWill { .. }
            | Self::PutFact { .. }
            | Self::PutInbound { .. } => None,
        }
    }

    /// Appends the record; more than 4 GiB cannot be appended and are refused before (`Batch`).
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let at = begin(self.kind(), out);
        match *self {
            Self::PutSession { session, value } | Self::PutWill { session, value } => {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(value);
            }
            Self::PutPublication { id, value } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(value);
            }
            Self::PutDelivery { session, seq, publication, packet_id, flags, shape } => {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
                out.extend_from_slice(&publication.to_le_bytes());
                out.extend_from_slice(&packet_id.to_le_bytes());
                out.push(flags);
                out.extend_from_slice(shape);
            }
            Self::SetState { session, seq, packet_id, flags } => {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
                out.extend_from_slice(&packet_id.to_le_bytes());
                out.push(flags);
            }
            Self::RemoveSession { span, session } | Self::RemoveWill { span, session } => {
                put_span(span, out);
                out.extend_from_slice(&session.to_le_bytes());
            }
            Self::RemoveDelivery { span, session, seq } => {
                put_span(span, out);
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
            }
            Self::PutRetained { publication, topic } => {
                out.extend_from_slice(&publication.to_le_bytes());
                out.extend_from_slice(topic.as_bytes());
            }
            Self::RemoveRetained { span, topic: text } | Self::RemoveFact { span, name: text } => {
                put_span(span, out);
                out.extend_from_slice(text.as_bytes());
            }
            Self::PutFact { name, value } => {
                out.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(value);
            }
            Self::PutInbound { session, packet_id } => {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&packet_id.to_le_bytes());
            }
            Self::RemoveInbound { span, session, packet_id } => {
                put_span(span, out);
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&packet_id.to_le_bytes());
            }
        }
        end(at, out);
    }
}

/// Begins a record, for those who write its fields themselves.
pub(crate) fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    at
}

/// Ends the record that begins at `at`.
pub(crate) fn end(at: usize, out: &mut [u8]) {
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Writes the span into a removal that begins at the start of `record`.
pub(crate) fn set_span(span: Span, record: &mut [u8]) {
    if let Some(place) = record.get_mut(HEAD_BYTES..HEAD_BYTES + 8) {
        let (first, last) = place.split_at_mut(4);
        first.copy_from_slice(&span.first.to_le_bytes());
        last.copy_from_slice(&span.last.to_le_bytes());
    }
}

fn put_span(span: Span, out: &mut Vec<u8>) {
    out.extend_from_slice(&span.first.to_le_bytes());
    out.extend_from_slice(&span.last.to_le_bytes());
}

/// The first record of the bytes and its whole length; `None` if there is none.
pub(crate) fn next(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let mut cursor = Cursor(bytes);
    let length = usize::try_from(cursor.u32()?).ok()?;
    let body = cursor.0.get(..length)?;
    Some((decode(body)?, length + 4))
}

fn decode(body: &[u8]) -> Option<Record<'_>> {
    let mut c = Cursor(body);
    let kind = c.u8()?;
    let record = match kind {
        1 => Record::PutSession { session: c.u64()?, value: c.rest() },
        2 => Record::RemoveSession { span: c.span()?, session: c.u64()? },
        3 => Record::PutPublication { id: c.u64()?, value: c.rest() },
        4 => Record::PutDelivery {
            session: c.u64()?,
            seq: c.u64()?,
            publication: c.u64()?,
            packet_id: c.u16()?,
            flags: c.flags()?,
            shape: c.rest(),
        },
        5 => Record::SetState { session: c.u64()?, seq: c.u64()?, packet_id: c.u16()?, flags: c.flags()? },
        6 => Record::RemoveDelivery { span: c.span()?, session: c.u64()?, seq: c.u64()? },
        7 => Record::PutRetained { publication: c.u64()?, topic: c.text()? },
        8 => Record::RemoveRetained { span: c.span()?, topic: c.text()? },
        9 => Record::PutWill { session: c.u64()?, value: c.rest() },
        10 => Record::RemoveWill { span: c.span()?, session: c.u64()? },
        11 => {
            let length = usize::try_from(c.u32()?).ok()?;
            Record::PutFact { name: std::str::from_utf8(c.take(length)?).ok()?, value: c.rest() }
        }
        12 => Record::RemoveFact { span: c.span()?, name: c.text()? },
        13 => Record::PutInbound { session: c.u64()?, packet_id: c.u16()? },
        14 => Record::RemoveInbound { span: c.span()?, session: c.u64()?, packet_id: c.u16()? },
        _ => return None,
    };
    c.0.is_empty().then_some(record)
}

/// Reads from the front; `None` when there is not enough.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.rest()).ok()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn span(&mut self) -> Option<Span> {
        let span = Span { first: self.u32()?, last: self.u32()? };
        (span.first <= span.last).then_some(span)
    }

    fn flags(&mut self) -> Option<u8> {
        self.u8().filter(|flags| *flags < 16 && flags & 3 < 3)
    }
}
