//! The process: workers, turns, timers, effects, reload and shutdown.
