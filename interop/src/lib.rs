//! Tests with foreign clients.
