//! A payload that outlives its packet. Most messages of devices are a few dozen bytes: those lie inside the stored message,
//! which then is one allocation; larger ones are shared with the outputs they go to.

use std::ops::Deref;
use std::sync::Arc;

/// Largest payload that lies inside, in bytes: a reading with its time and unit, and no more room lost than a pointer's
/// bookkeeping would take.
const INSIDE_BYTES_MAX: usize = 87;

/// A payload.
#[derive(Clone)]
pub struct Payload(Form);

#[derive(Clone)]
enum Form {
    Inside { length: u8, bytes: [u8; INSIDE_BYTES_MAX] },
    Shared(Arc<[u8]>),
}

impl Payload {
    /// The payload as a shared slice: `None` when it lies inside.
    pub fn shared(&self) -> Option<&Arc<[u8]>> {
        match &self.0 {
            Form::Inside { .. } => None,
            Form::Shared(payload) => Some(payload),
        }
    }

    /// The payload as a shared slice, copied when it lies inside.
    pub fn to_shared(&self) -> Arc<[u8]> {
        match &self.0 {
            Form::Inside { .. } => Arc::from(&**self),
            Form::Shared(payload) => Arc::clone(payload),
        }
    }
}

impl From<&[u8]> for Payload {
    fn from(payload: &[u8]) -> Self {
        let mut bytes = [0; INSIDE_BYTES_MAX];
        match (bytes.get_mut(..payload.len()), u8::try_from(payload.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(payload);
                Self(Form::Inside { length, bytes })
            }
            _ => Self(Form::Shared(Arc::from(payload))),
        }
    }
}

impl From<Arc<[u8]>> for Payload {
    fn from(payload: Arc<[u8]>) -> Self {
        if payload.len() <= INSIDE_BYTES_MAX { Self::from(&*payload) } else { Self(Form::Shared(payload)) }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Inside { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Form::Shared(payload) => payload,
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_what_was_put_in_whatever_its_length() {
        for length in [0, 1, INSIDE_BYTES_MAX - 1, INSIDE_BYTES_MAX, INSIDE_BYTES_MAX + 1, 300] {
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let payload = Payload::from(bytes.as_slice());
            assert_eq!(&*payload, bytes);
            assert_eq!(payload.shared().is_some(), length > INSIDE_BYTES_MAX);
            assert_eq!(*payload.to_shared(), *bytes);
            assert_eq!(&*Payload::from(payload.to_shared()), bytes);
        }
    }
}
