//! Wire-only tests by chapter of the standard.
