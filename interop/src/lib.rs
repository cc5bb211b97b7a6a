//! Tests with foreign clients against the real broker; see `tests/interop`.
