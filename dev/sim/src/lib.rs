//! Seeded simulation of the broker core with an independent model.
