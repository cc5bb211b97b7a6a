//! Which Client Identifiers an identity may use: its own name, or `{identity}-…`, unless the policy says otherwise.

/// A pattern: text, `{identity}`, and `*` at the end for any rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientIdPattern(String);

impl ClientIdPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, String)> {
        let body = text.strip_suffix('*').unwrap_or(text);
        if body.contains('*') {
            return Err((format!("`{text}` has `*` before its end"), "`*` may stand at the end only".into()));
        }
        if body.replace("{identity}", "").contains(['{', '}']) {
            return Err((format!("`{text}` has an unknown placeholder"), "use {identity}".into()));
        }
        Ok(Self(text.to_owned()))
    }

    /// A Client Identifier that fits, with `rest` where the pattern permits any.
    pub(crate) fn example(&self, identity: &str, rest: &str) -> String {
        let filled = |pattern: &str| pattern.replace("{identity}", identity);
        match self.0.strip_suffix('*') {
            Some(start) => format!("{}{rest}", filled(start)),
            None => filled(&self.0),
        }
    }

    /// The identities for which a Client Identifier may fit.
    pub(crate) fn identities(&self, client_id: &str) -> Vec<String> {
        let (pattern, is_open) = match self.0.strip_suffix('*') {
            Some(start) => (start, true),
            None => (self.0.as_str(), false),
        };
        let Some((before, after)) = pattern.split_once("{identity}") else { return Vec::new() };
        let Some(rest) = client_id.strip_prefix(before) else { return Vec::new() };
        let parts = rest
            .char_indices()
            .map(|(at, _)| at)
            .chain([rest.len()])
            .filter_map(|at| rest.split_at_checked(at));
        parts
            .map(|(identity, _)| identity.to_owned())
            .filter(|identity| {
                self.matches(client_id, identity) && (is_open || !after.is_empty() || identity == rest)
            })
            .collect()
    }

    /// Whether `client_id` fits for this identity.
    pub(crate) fn matches(&self, client_id: &str, identity: &str) -> bool {
        let filled = |pattern: &str| pattern.replace("{identity}", identity);
        match self.0.strip_suffix('*') {
            Some(start) => client_id.starts_with(&filled(start)),
            None => client_id == filled(&self.0),
        }
    }
}

/// What stands between the identity and the random digits of an identifier that the broker assigned.
const ASSIGNED: &str = "-auto-";
/// Hexadecimal digits of 128 random bits.
const ASSIGNED_DIGITS: usize = 32;

/// The Client Identifier that the broker gives a client of an identity that asks for one: nobody can guess it, and it says
/// whose it is.
pub fn assigned_client_id(identity: &str, random: u128) -> String {
    format!("{identity}{ASSIGNED}{random:032x}")
}

/// Whether the broker gives such an identifier to clients of this identity. Whatever its policy says of identifiers that
/// clients choose, it may come back with it.
pub(crate) fn is_assigned(client_id: &str, identity: &str) -> bool {
    let digits = client_id.strip_prefix(identity).and_then(|rest| rest.strip_prefix(ASSIGNED));
    digits.is_some_and(|digits| {
        digits.len() == ASSIGNED_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, client_id: &str) -> bool {
        ClientIdPattern::parse(pattern).unwrap().matches(client_id, "dev-1")
    }

    #[test]
    fn an_identity_keeps_to_its_own_names() {
        assert!(fits("{identity}", "dev-1"));
        assert!(!fits("{identity}", "dev-2"));
        assert!(fits("{identity}-*", "dev-1-app"));
        assert!(!fits("{identity}-*", "dev-10"));
        assert!(fits("*", "anything"));
        assert!(ClientIdPattern::parse("a*b").is_err());
        assert!(ClientIdPattern::parse("{user}").is_err());
    }

    #[test]
    fn an_assigned_identifier_is_its_identitys_alone() {
        let id = assigned_client_id("dev-1", 7);
        assert!(is_assigned(&id, "dev-1"));
        for other in ["dev-2", "dev", "", "dev-1-auto"] {
            assert!(!is_assigned(&id, other), "{other}");
        }
        for id in ["dev-1-auto-", "dev-1", "dev-1-auto-7", &id.to_uppercase(), &format!("{id}0")] {
            assert!(!is_assigned(id, "dev-1"), "{id}");
        }
    }
}
