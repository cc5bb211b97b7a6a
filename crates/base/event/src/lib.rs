//! The catalogue of events and checks: id, severity, fields, meaning, remedy.
