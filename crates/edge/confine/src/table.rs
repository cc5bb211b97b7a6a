//! The shape of the table of permitted kernel calls, and the short forms its file is written in.

use crate::role::Role;

/// One condition on an argument of a call: `argument & mask == value`, on its lower 32 bits but for [`Value::NoPointer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Which argument, from 0.
    pub(crate) argument: u8,
    /// Bits looked at.
    pub(crate) mask: u32,
    /// What they must be.
    pub(crate) value: Value,
}

/// What an argument is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A constant.
    Is(u32),
    /// The number of the process that confines itself.
    OwnProcess,
    /// Zero in all 64 bits.
    NoPointer,
}

/// A permitted call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Its name in libc: `SYS_` and the name in the manual.
    pub(crate) name: &'static str,
    /// Its number on this architecture.
    pub(crate) number: i64,
    /// Permitted when all tests of one row hold; without rows always.
    pub(crate) given: &'static [&'static [Test]],
}

/// Calls that serve one purpose.
pub(crate) struct Group {
    /// Who has them.
    pub(crate) roles: &'static [Role],
    /// The calls.
    pub(crate) calls: &'static [Call],
}

/// A call that libraries try and survive without: always answered with this error, never with the role's
/// [`Denied`](crate::Denied).
pub(crate) struct Declined {
    /// The answer.
    pub(crate) errno: i32,
    /// Who gets it.
    pub(crate) roles: &'static [Role],
    /// The calls.
    pub(crate) calls: &'static [Call],
}

/// The argument is one of the values, in rows: `argument == value`.
pub(crate) const fn is(argument: u8, value: u32) -> Test {
    Test { argument, mask: u32::MAX, value: Value::Is(value) }
}

/// Of the bits in `mask` exactly those in `value` are set.
pub(crate) const fn bits(argument: u8, mask: u32, value: u32) -> Test {
    Test { argument, mask, value: Value::Is(value) }
}

/// The argument is a pointer that points to nothing.
pub(crate) const fn null(argument: u8) -> Test {
    Test { argument, mask: u32::MAX, value: Value::NoPointer }
}

/// The argument is the number of the process itself.
pub(crate) const fn own(argument: u8) -> Test {
    Test { argument, mask: u32::MAX, value: Value::OwnProcess }
}

/// Calls by their names in libc; `SYS_name if [[row], [row]]` permits a call under conditions.
macro_rules! calls {
    ($($name:ident $(if [$([$($test:expr),+ $(,)?]),+ $(,)?])?),+ $(,)?) => {{
        const CALLS: &[$crate::table::Call] = &[$($crate::table::Call {
            name: stringify!($name),
            number: libc::$name,
            given: &[$($(&[$($test),+]),+)?],
        }),+];
        CALLS
    }};
}
pub(crate) use calls;
