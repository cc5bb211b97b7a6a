//! The life of the process.

events! { "life":
    started "MOTTE-L-0001" Notice (version: &str = "version", workers: u64 = "workers")
        "The broker started with this version and number of workers."
        "Nothing.";
    listening "MOTTE-L-0002" Notice (listener: &str = "listener", address: &str = "address", kind: &str = "transport")
        "A listener accepts connections at this address."
        "Nothing, if you meant to open this address.";
    stopping "MOTTE-L-0003" Notice (cause: &str = "signal or command")
        "The broker stops: clients are told goodbye, Sessions are kept."
        "Nothing.";
    stopped "MOTTE-L-0004" Notice (seconds: u64 = "seconds it ran")
        "The broker stopped cleanly after this time."
        "Nothing.";
    reloaded "MOTTE-L-0005" Notice (changed: &str = "what was read anew")
        "Configuration, policy, credentials and certificates were read anew and are in force."
        "Nothing. Clients that are no longer permitted have been disconnected.";
    reload_refused "MOTTE-L-0006" Error (cause: &str = "file, place and fault")
        "The new configuration has a fault and was refused whole; the old one stays in force."
        "Correct what the cause names, try it with `motte check`, and reload again.";
    certificate_expiring "MOTTE-L-0007" Warning (file: &str = "certificate file", days: u64 = "whole days left")
        "A server certificate expires within 30 days. After that, clients will refuse it."
        "Renew it and reload; with `motte up` remove server.pem from the state directory and start again.";
    certificate_expired "MOTTE-L-0008" Error (file: &str = "certificate file")
        "A server certificate has expired; clients that check it cannot connect."
        "Renew it and reload; with `motte up` remove server.pem from the state directory and start again.";
    open_files_low "MOTTE-L-0009" Warning (limit: u64 = "open files permitted", wanted: u64 = "connections_max and what the process needs beside it")
        "The system permits fewer open files than limits.connections_max needs; connections above it will fail."
        "Raise the limit (ulimit -n, LimitNOFILE=) or lower limits.connections_max.";
    plaintext_exception "MOTTE-L-0010" Warning (listener: &str = "listener", until: &str = "the date written in the configuration")
        "A listener without encryption is open to the network by a dated exception."
        "Move its clients to TLS before the date; after it the broker will not start with this listener.";
    log_dropped "MOTTE-L-0011" Error (events: u64 = "events that were not written")
        "Events came faster than the log takes them; this many were not written."
        "Find out what causes so many events, and where standard error goes that it is so slow.";
    event_repeated "MOTTE-L-0012" Notice (event: &str = "name of the event", times: u64 = "how often it happened beyond those written")
        "An event happened so often that not each was written; this is how many were left out in the last seconds."
        "Look at the ones that were written: they have the same cause.";
    revocation_list_expired "MOTTE-L-0013" Error (file: &str = "file of the list")
        "A revocation list is past its end. Client certificates of its authority are refused, because nobody knows which were revoked since."
        "Fetch the authority's current list and reload.";
    confined "MOTTE-L-0017" Notice (role: &str = "part that the process plays", in_force: &str = "what the kernel says is in force")
        "The process gave up files, ports, programs and kernel calls that it does not need."
        "Nothing. `motte harden status` reads it anew.";
    confinement_incomplete "MOTTE-L-0018" Warning (role: &str = "part that the process plays", not_in_force: &str = "what is not in force, with what would bring it")
        "Something that confines the process is not in force: whoever takes it over is not held back by it."
        "Follow the remedy that is named; then set sandbox.mode = \"required\", which refuses such a start.";
    keys_ended "MOTTE-L-0014" Error (cause: &str = "how it ended", again_ms: u64 = "milliseconds until it is started again")
        "The key process ended and is started again. Until then new TLS handshakes wait, a bounded time; connections that stand are not touched."
        "Nothing, if it happens once. Again and again is a defect of motte or of its surroundings, such as too little memory: see how it ended.";
    keys_ready "MOTTE-L-0015" Notice ()
        "The key process runs, has read its keys and signs TLS handshakes."
        "Nothing.";
    keys_faulty "MOTTE-L-0016" Error (faults: &str = "files and what is wrong with them")
        "The key process was started again and does not have a key that is in force: its file cannot be read, or holds another one. Handshakes that need it fail."
        "Mend what the faults name and reload.";
    outward_ended "MOTTE-L-0040" Error (cause: &str = "how it ended", again_ms: u64 = "milliseconds until it is started again")
        "The process that connects out ended and is started again. Until then nothing is fetched and no service is asked: logins that need one are refused. Everything else goes on."
        "Nothing, if it happens once. Again and again is a defect of motte or of its surroundings, such as too little memory: see how it ended.";
    outward_ready "MOTTE-L-0041" Notice ()
        "The process that connects out runs and knows where to."
        "Nothing.";
    revocation_list_fetched "MOTTE-L-0042" Notice (url: &str = "where it was fetched from", number: u64 = "number of the list", until: &str = "when it ends")
        "A new revocation list was fetched and is in force; clients that it names have been disconnected."
        "Nothing.";
    revocation_list_unfetched "MOTTE-L-0043" Warning (url: &str = "where it was to be fetched from", cause: &str = "why it was not, or was not taken")
        "A revocation list could not be fetched, or what came is not a list that may be used. The one that is held stays in force."
        "See that the address answers with the authority's current list, and that the authority which signed it is in client_ca. It is tried again.";
    revocation_list_missing "MOTTE-L-0044" Error (listener: &str = "listener", url: &str = "where the list is to come from")
        "There is no revocation list from this address so far. With crl_stale = \"refuse\" client certificates whose status no other list tells are refused."
        "See life.revocation_list_unfetched for the cause. The list is put in force when it comes.";
    token_keys_fetched "MOTTE-L-0090" Notice (issuer: &str = "whose keys", url: &str = "where they were fetched from", new: u64 = "keys that are new", gone: u64 = "keys that are gone")
        "Other keys of an issuer were fetched and are in force; clients whose token a key signed that is gone have been disconnected."
        "Nothing, if the issuer has changed its keys. If it has not, find out who answers at that address.";
    token_keys_unfetched "MOTTE-L-0091" Warning (issuer: &str = "whose keys", url: &str = "where they were to be fetched from", cause: &str = "why they were not, or were not taken")
        "The keys of an issuer could not be fetched, or what came is no key set that may be used. Those that are held are used until they are too old."
        "See that the address answers with the issuer's key set, from a server whose authority is in `ca`. It is tried again.";
    token_keys_missing "MOTTE-L-0092" Error (issuer: &str = "whose keys", url: &str = "where they are to come from")
        "There are no keys of this issuer so far. Clients with its tokens are told that the server is not available."
        "See life.token_keys_unfetched for the cause. The keys are in force when they come.";
    token_keys_stale "MOTTE-L-0093" Error (issuer: &str = "whose keys", url: &str = "where they are to come from")
        "The keys of an issuer could not be fetched for keys_stale_s. None of its tokens is taken any more; who is connected stays until the token ends."
        "See life.token_keys_unfetched for the cause. The keys are in force again when they come.";
    token_keys_kept "MOTTE-L-0094" Warning (issuer: &str = "whose keys", url: &str = "where they come from", until: &str = "until when they are used")
        "The keys of an issuer could not be fetched so far; those that were fetched before the restart are in force, until they are too old."
        "See life.token_keys_unfetched for the cause. A key that the issuer took back meanwhile is known as such when the keys are fetched.";
    administered "MOTTE-L-0019" Notice (uid: u64 = "user of the operator, by its number", act: &str = "what was asked", result: &str = "what came of it")
        "An operator did something on the control socket."
        "Nothing, if you know who it was.";
    operator_refused "MOTTE-L-0020" Warning (uid: u64 = "user that asked, by its number", cause: &str = "why it may not")
        "Somebody of this machine reached the control socket who may not ask anything there, and was turned away."
        "See who runs as this user. To admit operators, write control.group; to keep others away, put the socket into a directory that they cannot enter.";
    step_up_wanted "MOTTE-L-0100" Warning (by: &str = "who asked: the user of an operator, or a signal", act: &str = "what was asked", accounts: &str = "accounts of which one has to give its code")
        "Something of high risk was asked without a code, where [control] second_factor names accounts. Nothing was changed."
        "If you know who it was: `motte acl apply NEW --as ACCOUNT` for a policy, `motte reload --as ACCOUNT` for other changes, --as ACCOUNT with the verb that was refused. If not, find out who changed the files.";
    step_up_refused "MOTTE-L-0101" Warning (by: &str = "who asked: the user of an operator", act: &str = "what was asked", account: &str = "as whom", cause: &str = "why the code was not taken")
        "Something of high risk was asked with a code that was not taken. Nothing was changed."
        "Wait for the next code if it was used or mistyped. Several of these that nobody knows of are somebody who has a user of this machine but not the second factor.";
    step_up_granted "MOTTE-L-0102" Notice (by: &str = "who asked: the user of an operator", act: &str = "what was asked", account: &str = "whose code it was")
        "Something of high risk was asked with a valid code. What became of it is told by the next events."
        "Nothing, if the owner of the account knows of it. If not, close the account and enrol its second factor anew: `motte user disable`, `motte user totp enrol --replace`.";
    admin_ended "MOTTE-L-0021" Error (cause: &str = "how it ended", again_ms: u64 = "milliseconds until it is started again")
        "The admin process ended and is started again. Until then operators wait; clients are not touched."
        "Nothing, if it happens once. Again and again is a defect of motte or of its surroundings, such as too little memory: see how it ended.";
    admin_ready "MOTTE-L-0022" Notice (socket: &str = "the control socket")
        "The admin process runs: operators can ask on the control socket."
        "Nothing.";
    control_unavailable "MOTTE-L-0023" Warning (socket: &str = "where it would be", cause: &str = "what the system says")
        "The control socket cannot be made where it is by default. The broker runs without; signals still work."
        "Name a socket in a directory where this user may make one: [control] socket = \"/run/motte/control.sock\". Or write [control] enabled = false.";
}
