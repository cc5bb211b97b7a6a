//! What policy permitted and denied.

events! { "rule":
    publish_denied "MOTTE-R-0001" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", topic: &str = "Topic Name", cause: &str = "rule or lack of one")
        "A client published to a topic that its policy does not grant. The message reached nobody."
        "If the client needs the topic, grant `publish` on it to its role; for RETAIN grant `retain` too. If it is no topic of the topic registry, correct the client, or add its shape to `topic_registry`.";
    subscribe_denied "MOTTE-R-0002" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", filter: &str = "Topic Filter", cause: &str = "rule, lack of one, or a topic that the filter reaches")
        "A client asked for a subscription that reaches topics its policy does not grant."
        "Let the client subscribe to what it is granted, widen the grant, or use `narrow = true` to deliver the granted part only.";
    will_denied "MOTTE-R-0003" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", topic: &str = "Topic Name of the Will", cause: &str = "rule or lack of one")
        "A client wanted to leave a Will for a topic that its policy does not grant; its CONNECT was refused."
        "Grant `publish` (and `retain`, if the Will is retained) on the Will's topic, or configure the client without it. If it is no topic of the topic registry, correct it, or add its shape to `topic_registry`.";
    injection_denied "MOTTE-R-0004" Warning (origin: &str = "the way in", principal: &str = "who was responsible", topic: &str = "Topic Name", cause: &str = "rule or lack of one")
        "A message that came in another way than PUBLISH was denied when it was to be published: a Will that fired after its rights were taken back, an operator, a bridge, a record from before a restart."
        "Nothing, if rights were taken back on purpose. Otherwise grant `publish` on the topic to that principal, or add its shape to `topic_registry` if the cause names that.";
    revoked "MOTTE-R-0005" Notice (identity: &str = "the identity", client_id: &str = "Client Identifier", cause: &str = "why it may no longer connect")
        "A reload found that a client may no longer connect: its credential or its right to its Client Identifier is gone. It was disconnected and its Session removed."
        "Nothing, if you took the right back. Otherwise correct the policy or the password file and reload.";
    policy_loaded "MOTTE-R-0006" Notice (files: &str = "the files", generation: u64 = "number of the policy since the start")
        "A policy was read and is in force; every decision from now on is made by it."
        "Nothing.";
    permitted_everything "MOTTE-R-0007" Warning (listener: &str = "listener")
        "The broker runs in development mode: no encryption, no authentication, every topic permitted."
        "Use `motte up` or `motte serve` for anything but development on this machine.";
    role_permissive "MOTTE-R-0008" Warning (role: &str = "the role", until: &str = "its last day, in UTC")
        "A role is permissive: what no rule grants to its holders is permitted and logged, to the end of that day. Rules that deny are in force."
        "Grant what is used (`rule.let_pass` in the log, `motte acl advise`), then remove `permissive_until` from the role and reload.";
    let_pass "MOTTE-R-0009" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", action: &str = "the right", target: &str = "Topic Name or Topic Filter", cause: &str = "why it would have been denied")
        "A client did what its policy does not grant, and was let through because its role is permissive."
        "Grant it if it is needed; without that it is denied from the day on which the role's `permissive_until` has passed.";
    permissive_ended "MOTTE-R-0010" Notice (role: &str = "the role", until: &str = "its last day, in UTC")
        "The last day of a permissive role has passed: what no rule grants to its holders is denied from now on."
        "Remove `permissive_until` from the role. If clients are denied what they need (`rule.publish_denied`, `rule.subscribe_denied`), grant it.";
    record_unreadable "MOTTE-R-0011" Warning (file: &str = "the file", cause: &str = "what is wrong with it")
        "The record of what rules were used for could not be read. It was put aside with `.damaged` at the end of its name, and a new one is begun: `motte acl advise` waits until rules were watched long enough again."
        "Find out what changed the file; nothing else depends on it.";
    record_not_written "MOTTE-R-0012" Warning (file: &str = "the file", cause: &str = "what the system said")
        "The record of what rules were used for could not be written. It is kept in memory and tried again every minute."
        "Make room in the state directory, or correct its owner and mode.";
}
