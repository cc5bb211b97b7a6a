//! The declarations, by part of the broker.

use crate::event::EventSpec;

/// Declares events: for each its constructor, identifier, severity, fields, meaning and remedy.
macro_rules! events {
    ($part:literal: $($(#[$doc:meta])* $constructor:ident $id:literal $severity:ident
        ($($field:ident: $kind:ty = $what:literal),*) $meaning:literal $remedy:literal;)*) => {
        $(
            #[doc = $meaning]
            pub fn $constructor($($field: $kind),*) -> crate::event::Event {
                static SPEC: &crate::event::EventSpec = &crate::event::EventSpec {
                    id: $id,
                    name: concat!($part, ".", stringify!($constructor)),
                    severity: crate::event::Severity::$severity,
                    fields: &[$(crate::event::FieldSpec { name: stringify!($field), meaning: $what }),*],
                    meaning: $meaning,
                    remedy: $remedy,
                };
                crate::event::Event::new(SPEC, vec![$(crate::event::Value::from($field)),*])
            }
        )*

        /// The declarations of this part.
        pub(crate) static ALL: &[crate::event::EventSpec] = &[$(crate::event::EventSpec {
            id: $id,
            name: concat!($part, ".", stringify!($constructor)),
            severity: crate::event::Severity::$severity,
            fields: &[$(crate::event::FieldSpec { name: stringify!($field), meaning: $what }),*],
            meaning: $meaning,
            remedy: $remedy,
        }),*];
    };
}

pub mod device;
pub mod gate;
pub mod keep;
pub mod life;
pub mod rule;
pub mod vault;

/// All parts.
pub(crate) static ALL: &[&[EventSpec]] =
    &[gate::ALL, rule::ALL, keep::ALL, life::ALL, device::ALL, vault::ALL];
