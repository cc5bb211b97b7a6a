//! Secret types, password hashes and checksummed envelopes.
