//! A harness around the real process for tests.
