//! What an audit says.

use motte_access::analysis::Severity;

/// What an audit found, and what it looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What was looked at.
    pub facts: Vec<Fact>,
    /// What is not as it should be, gravest first.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at. Texts may hold what strangers wrote: whoever prints them escapes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What, for a file its path below the root.
    pub subject: String,
    /// What is known of it, each with its name.
    pub values: Vec<(&'static str, String)>,
}

impl Fact {
    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// Something that is not as it should be. Texts may hold what strangers wrote: whoever prints them escapes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which kind.
    pub check: Check,
    /// How much it matters.
    pub severity: Severity,
    /// The file that it is about, as a path below the root with a leading `/`.
    pub file: String,
    /// The line in that file, from 1; 0 if it is about no line.
    pub line: usize,
    /// What was found.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The single items behind it, gravest first; may be empty.
    pub details: Vec<String>,
}

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A library has known vulnerabilities.
    Vulnerable,
    /// A library's branch is out of support.
    Unsupported,
    /// Whether a library is vulnerable cannot be told by its version.
    NotJudged,
    /// The version of a library is not known.
    UnknownVersion,
    /// A library is not the one of its package.
    Changed,
    /// The shipped table is old.
    TableOld,
    /// Processes use a library that was replaced.
    Restart,
    /// Processes use libraries of another root.
    Elsewhere,
    /// Old protocol versions are permitted.
    MinProtocol,
    /// The security level is low.
    SecurityLevel,
    /// Weak ciphers are permitted.
    WeakCiphers,
    /// Withdrawn algorithms are available.
    LegacyProvider,
    /// Renegotiation without RFC 5746 is permitted.
    UnsafeRenegotiation,
    /// A line of a configuration cannot be read.
    ConfigFault,
    /// Not everything was looked at.
    Incomplete,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Vulnerable,
        Self::Unsupported,
        Self::NotJudged,
        Self::UnknownVersion,
        Self::Changed,
        Self::TableOld,
        Self::Restart,
        Self::Elsewhere,
        Self::MinProtocol,
        Self::SecurityLevel,
        Self::WeakCiphers,
        Self::LegacyProvider,
        Self::UnsafeRenegotiation,
        Self::ConfigFault,
        Self::Incomplete,
    ];

    /// Its name in output.
    pub fn id(self) -> &'static str {
        match self {
            Self::Vulnerable => "openssl.vulnerable",
            Self::Unsupported => "openssl.unsupported",
            Self::NotJudged => "openssl.not_judged",
            Self::UnknownVersion => "openssl.unknown_version",
            Self::Changed => "openssl.changed",
            Self::TableOld => "openssl.table_old",
            Self::Restart => "openssl.restart",
            Self::Elsewhere => "openssl.elsewhere",
            Self::MinProtocol => "openssl.min_protocol",
            Self::SecurityLevel => "openssl.security_level",
            Self::WeakCiphers => "openssl.weak_ciphers",
            Self::LegacyProvider => "openssl.legacy_provider",
            Self::UnsafeRenegotiation => "openssl.unsafe_renegotiation",
            Self::ConfigFault => "openssl.config_fault",
            Self::Incomplete => "audit.incomplete",
        }
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Vulnerable => "a library of OpenSSL has vulnerabilities that are published and mended",
            Self::Unsupported => "nobody mends this branch of OpenSSL any more",
            Self::NotJudged => {
                "a distributor mends this library without changing its version, and the table does not know how"
            }
            Self::UnknownVersion => "a library of OpenSSL does not say its version",
            Self::Changed => "the library is not of the version that its package says",
            Self::TableOld => {
                "the shipped table of advisories is old, and newer vulnerabilities are not in it"
            }
            Self::Restart => "processes still use a library that was replaced or removed",
            Self::Elsewhere => "processes in containers use libraries that this audit did not look at",
            Self::MinProtocol => "openssl.cnf permits versions of TLS or DTLS before 1.2",
            Self::SecurityLevel => "openssl.cnf lowers the security level below 2",
            Self::WeakCiphers => "openssl.cnf permits ciphers that protect nothing or little",
            Self::LegacyProvider => "openssl.cnf makes withdrawn algorithms available to every program",
            Self::UnsafeRenegotiation => "openssl.cnf permits peers without secure renegotiation",
            Self::ConfigFault => "openssl.cnf has a line that the audit cannot judge",
            Self::Incomplete => "something could not be looked at, and what is there is not known",
        }
    }
}
