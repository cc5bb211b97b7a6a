//! The keys that seal what is kept.

events! { "vault":
    created "MOTTE-V-0001" Notice (file: &str = "the vault", key: &str = "the key that opens it, and where that is", recovery: &str = "what there is of a recovery key")
        "A vault was made for the state directory; what is kept there is sealed from now on, and nobody reads it without the key."
        "Keep a copy of the key away from this machine. Without a recovery key, run `motte vault recovery new`.";
    keys_rotated "MOTTE-V-0002" Notice (keys: u64 = "data keys that were exchanged", bytes: u64 = "bytes of segments that were written again")
        "New data keys seal everything that is kept, and the former ones are forgotten unless they were to be kept."
        "Replace copies of the vault beside backups with `motte vault copy`: backups from before are opened by their own copy only.";
    shredded "MOTTE-V-0003" Notice (device: &str = "the identity", keys: u64 = "keys that were destroyed", sessions: u64 = "Sessions that were ended", retained: u64 = "Retained Messages that were removed")
        "What was kept of a device was removed, and the keys that sealed it were destroyed."
        "Replace copies of the vault with `motte vault copy`: a copy from before still has the keys.";
    work_failed "MOTTE-V-0004" Error (work: &str = "what was to be done", cause: &str = "why it was not")
        "Keys could not be exchanged or destroyed to the end. Nothing that is kept is lost; former keys may still be in the vault."
        "Mend what the cause names and ask for it again.";
}
