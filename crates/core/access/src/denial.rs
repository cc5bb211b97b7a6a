//! Why something was denied.

/// Why something was denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No rule allows it.
    #[error("no rule allows {action} on `{target}`")]
    NoRule {
        /// The right.
        action: &'static str,
        /// The topic or filter.
        target: String,
    },
    /// A rule denies it.
    #[error("{action} on `{target}` is denied by the rule at {place}")]
    Rule {
        /// The right.
        action: &'static str,
        /// The topic or filter.
        target: String,
        /// Where the rule stands.
        place: String,
    },
    /// The filter reaches a topic that is not granted.
    #[error("`{filter}` reaches `{witness}`, which is not granted")]
    Reaches {
        /// The filter.
        filter: String,
        /// A topic that it matches and that is not granted.
        witness: String,
    },
    /// The filter's wildcards reach further than the role's may.
    #[error("the wildcards of `{filter}` reach further than this role's may")]
    Wildcards {
        /// The filter.
        filter: String,
    },
    /// The token that the client came in with does not reach so far, whatever the policy says.
    #[error("the token of this client does not reach `{witness}`, so it may not {action} `{target}`")]
    Token {
        /// The right.
        action: &'static str,
        /// The topic or filter.
        target: String,
        /// A topic of it that is outside.
        witness: String,
    },
    /// The topic registry knows no such topic, whatever the rules say.
    #[error("`{witness}` is no topic of the topic registry; {action} on `{target}` is denied to everybody")]
    Unregistered {
        /// The right.
        action: &'static str,
        /// The topic or filter.
        target: String,
        /// A topic of it that no shape of the registry matches.
        witness: String,
    },
    /// The topic belongs to the broker.
    #[error("`{target}` belongs to the broker")]
    SystemSpace {
        /// The topic.
        target: String,
    },
    /// This kind of principal has no such right by this way.
    #[error("{principal} has no rights by way of {origin}")]
    Kind {
        /// The principal.
        principal: String,
        /// The way.
        origin: &'static str,
    },
    /// The identity may not use the Client Identifier.
    #[error("identity `{identity}` may not use Client Identifier `{client_id}`")]
    ClientId {
        /// The identity.
        identity: String,
        /// The Client Identifier.
        client_id: String,
    },
    /// The identity comes from other addresses only.
    #[error("identity `{identity}` may not come from {address}; `from` of the policy names where it may")]
    Source {
        /// The identity.
        identity: String,
        /// The address, or that there is none.
        address: String,
    },
}
