//! What an issuer says of itself (OpenID Connect Discovery 1.0, section 4): where its keys are, followed only where that may lead.

use motte_config::{Described, Url};
use serde_json::Value;

/// Longest description, in bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 64 * 1_024;

/// Where the keys are, by an issuer's description of itself.
///
/// # Errors
/// Why it must not be followed: it is no description, of somebody else, or leads where nobody permitted, for people.
pub fn keys_address(document: &[u8], described: &Described) -> Result<Url, String> {
    let document: Value =
        serde_json::from_slice(document).map_err(|error| format!("no description: {error}"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    match text("issuer") {
        Some(issuer) if issuer == described.issuer => {}
        Some(issuer) => {
            let shown: String = issuer.chars().take(200).collect();
            return Err(format!("the description is of `{}`, another issuer", shown.escape_debug()));
        }
        None => return Err("the description names no issuer".to_owned()),
    }
    let written = text("jwks_uri").ok_or("the description does not say where the keys are (`jwks_uri`)")?;
    let keys = Url::parse(written).map_err(|what| format!("`jwks_uri` is no address: {what}"))?;
    if !keys.is_tls() {
        return Err(format!("the keys are at {keys}, which is not https"));
    }
    if !described.origins.iter().any(|origin| origin.is_of_origin(&keys)) {
        return Err(format!("the keys are at {keys}, neither the issuer's origin nor one of keys_origins"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_followed_only_where_it_may_lead() {
        let origins = ["https://login.example/realm", "https://keys.example:99"];
        let described = Described {
            issuer: "https://login.example/realm".to_owned(),
            origins: origins.map(|origin| Url::parse(origin).unwrap()).to_vec(),
        };
        let read = |issuer: &str, keys: &str| {
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": keys, "scopes_supported": []});
            keys_address(document.to_string().as_bytes(), &described).map(|url| url.to_string())
        };
        let own = "https://login.example/realm";
        for keys in [
            "https://login.example/realm/keys?v=2",
            "https://LOGIN.example:443/",
            "https://keys.example:99/k",
        ] {
            assert_eq!(read(own, keys), Ok(keys.to_owned()));
        }
        let refused = [
            ("https://login.example/realm/", "https://login.example/k", "another issuer"),
            ("https://evil.example", "https://login.example/k", "another issuer"),
            (own, "http://login.example/k", "not https"),
            (own, "https://login.example:8443/k", "neither the issuer's origin"),
            (own, "https://keys.example/k", "neither the issuer's origin"),
            (own, "https://login.example.evil.example/k", "neither the issuer's origin"),
            (own, "https://login.example@evil.example/k", "no address"),
            (own, "file:///etc/passwd", "no address"),
            (own, "https://169.254.169.254/latest", "neither the issuer's origin"),
        ];
        for (issuer, keys, cause) in refused {
            let told = read(issuer, keys).unwrap_err();
            assert!(told.contains(cause), "{keys}: {told}");
        }
        for (document, cause) in [
            ("", "no description"),
            ("[]", "names no issuer"),
            ("{\"issuer\":7}", "names no issuer"),
            ("{\"issuer\":\"https://login.example/realm\"}", "does not say where the keys are"),
        ] {
            assert!(keys_address(document.as_bytes(), &described).unwrap_err().contains(cause), "{document}");
        }
    }
}
