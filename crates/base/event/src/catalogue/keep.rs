//! What is kept, and what could not be.

events! { "keep":
    queue_full "MOTTE-K-0001" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", limit: u64 = "messages the queue may hold")
        "The queue of a Session is full: newer messages for it are dropped until it is read. Said once until the queue is empty again."
        "Find out why the client does not read, or raise limits.queued_messages_max or limits.queued_bytes_max.";
    slow_consumer "MOTTE-K-0002" Notice (identity: &str = "the identity", client_id: &str = "Client Identifier")
        "A client reads more slowly than messages come for it; QoS 0 messages to it are dropped meanwhile. Said once until it catches up."
        "Use QoS 1 for messages that must arrive, or look at the client's network.";
    retained_full "MOTTE-K-0003" Warning (topic: &str = "Topic Name")
        "A message could not be retained because the bound of Retained Messages is reached; the publisher was told 0x97 where its version has it."
        "Raise limits.retained_messages_max or limits.retained_bytes_max, or remove Retained Messages that nobody needs.";
    subscriptions_full "MOTTE-K-0004" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", limit: u64 = "subscriptions a Session may have")
        "A client asked for more subscriptions than one Session may have; the further ones were refused with 0x97."
        "Use wildcards instead of many filters, or raise limits.subscriptions_per_session_max.";
    session_expired "MOTTE-K-0005" Info (identity: &str = "the identity", client_id: &str = "Client Identifier")
        "A Session without connection reached its expiry and was removed with what waited for it."
        "Nothing. For longer absences let the client ask for a longer Session Expiry Interval.";
    memory_high "MOTTE-K-0006" Error (used_bytes: u64 = "bytes in use", pressure: &str = "`high`: new connections are refused; `full`: also QoS 0 to slow clients and new waiting messages")
        "What waits for clients has nearly or wholly used up the memory budget, and load is shed in the stated order."
        "Raise limits.memory_bytes_max if the machine has room, or find the Sessions that do not read.";
    memory_relaxed "MOTTE-K-0007" Notice (used_bytes: u64 = "bytes in use")
        "The memory budget has room again and nothing is shed any more."
        "Nothing.";
    snapshot_loaded "MOTTE-K-0009" Notice (sessions: u64 = "Sessions", retained: u64 = "Retained Messages", file: &str = "the file")
        "The snapshot of an earlier version of motte was taken into the journal and its file was removed."
        "Nothing.";
    store_opened "MOTTE-K-0011" Info (sessions: u64 = "Sessions", deliveries: u64 = "deliveries that are not finished", retained: u64 = "Retained Messages", durability: &str = "`disk`, `os` or `memory`: how far an acknowledgement must have got", millis: u64 = "how long reading it took, in milliseconds")
        "The journal of the state directory was read. Each message in it is decided again before it is delivered."
        "Nothing. With `memory`, nothing outlives the process: set store.durability and a state directory if it should.";
    store_damaged "MOTTE-K-0012" Critical (file: &str = "the file", what: &str = "what is wrong with it, and where")
        "Part of the journal cannot be read; the rest is served."
        "Look at the device, then restore from a backup or let the loss be.";
    store_refuses "MOTTE-K-0013" Critical (cause: &str = "what the system said")
        "The disk takes nothing: whatever would have to be kept is refused with 0x97, or the connection is closed. What need not be kept goes on."
        "Make room or mend the disk; motte goes on by itself.";
    store_recovered "MOTTE-K-0014" Notice ()
        "The disk takes again what is to be kept; nothing is refused any more."
        "Nothing.";
    state_file_refused "MOTTE-K-0016" Error (file: &str = "the file", cause: &str = "what is wrong with it")
        "A small file of the state directory (login counters, bans, usage, what logins taught, fetched keys of token issuers) is not what was written last: damaged, of another place, an older copy, not sealed, or gone. It was put aside with `.damaged` at the end of its name, and what it held begins anew."
        "Find out what changed the file. Make bans again that are missing.";
    attempts_not_kept "MOTTE-K-0040" Error (file: &str = "the file", cause: &str = "what went wrong")
        "Login counters or bans could not be read or written. What could not be read begins anew; what could not be written is tried again."
        "Look at the state directory: space, permissions, the disk. Make bans again that are missing.";
    issuer_keys_not_kept "MOTTE-K-0041" Error (file: &str = "the file", cause: &str = "what went wrong")
        "Keys of token issuers that were fetched could not be written for the next start. They are in force all the same; a start while their issuer cannot be reached would not have them."
        "Look at the state directory: space, permissions, the disk. They are written again with the next that are fetched.";
    issuer_keys_unusable "MOTTE-K-0042" Error (file: &str = "the file", issuer: &str = "whose keys", cause: &str = "what is wrong with them")
        "Keys of a token issuer that were kept over a restart may not be used. They are left out; keys that are fetched take their place."
        "See that the issuer can be reached, so that its keys are fetched anew. If the clock was wrong, set it right.";
    store_in_doubt "MOTTE-K-0015" Critical (cause: &str = "what the system said")
        "The disk did not confirm what was written; connections that waited for it were closed without an acknowledgement, so that clients ask again."
        "Look at the kernel's log for this device.";
}
