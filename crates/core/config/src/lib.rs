//! Configuration as written and as meant, with places and remedies for every error.
