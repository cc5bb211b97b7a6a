//! The claim with topics: filters for publishing and for subscribing, which narrow and never grant.

use motte_access::TokenTopics;
use serde_json::Value;

/// Reads the claim, an object with lists `publish` and `subscribe`; a list that is left out is empty.
///
/// # Errors
/// What is wrong with it: whoever wrote it wanted bounds, so a token whose bounds cannot be read is not taken.
pub(crate) fn topics(claim: &Value) -> Result<TokenTopics, &'static str> {
    let Value::Object(written) = claim else { return Err("the token's topics are no object") };
    if written.keys().any(|key| key != "publish" && key != "subscribe") {
        return Err("the token's topics say something that is not known");
    }
    let filters = |name: &str| {
        let Some(list) = written.get(name) else { return Ok(Vec::new()) };
        let list = list.as_array().ok_or("the token's topics are no list")?;
        list.iter().map(|one| one.as_str().ok_or("a topic of the token is no text")).collect()
    };
    let (publish, subscribe): (Vec<&str>, Vec<&str>) = (filters("publish")?, filters("subscribe")?);
    TokenTopics::parse(&publish, &subscribe)
}
