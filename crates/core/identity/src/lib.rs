//! Credentials to Principal: password file, certificates, verdicts.
