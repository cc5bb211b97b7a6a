//! The keys that seal what is kept.

events! { "vault":
    created "MOTTE-V-0001" Notice (file: &str = "the vault", key: &str = "the key that opens it, and where that is", recovery: &str = "what there is of a recovery key")
        "A vault was made for the state directory; what is kept there is sealed from now on, and nobody reads it without the key."
        "Keep a copy of the key away from this machine. Without a recovery key, stop the broker and run `motte vault recovery new`.";
}
