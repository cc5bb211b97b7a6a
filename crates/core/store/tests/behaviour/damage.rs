//! What the journal promises, one thing at a time.
