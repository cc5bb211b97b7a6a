//! Who comes in, and who does not.

events! { "gate":
    authenticated "MOTTE-G-0001" Info (identity: &str = "the identity policy speaks of", client_id: &str = "Client Identifier", address: &str = "peer address", listener: &str = "listener", method: &str = "what proved the identity", version: &str = "protocol version", session: &str = "`new` or `resumed`")
        "A client connected and was accepted under this identity."
        "Nothing, if you know the client. Otherwise find out who holds its credential.";
    disconnected "MOTTE-G-0002" Info (identity: &str = "the identity", client_id: &str = "Client Identifier", cause: &str = "why the connection ended")
        "The connection of an accepted client ended."
        "Nothing, unless one client comes and goes all the time: then look at its network or at a second device with the same Client Identifier.";
    connect_refused "MOTTE-G-0003" Warning (client_id: &str = "Client Identifier, if one was sent", address: &str = "peer address", listener: &str = "listener", reason: &str = "Reason Code of the answer", cause: &str = "what was wrong")
        "A CONNECT was refused. The client was told the reason code only; the cause stands here."
        "Read the cause. Many refusals from one address are someone guessing: restrict the listener's addresses.";
    login_failed "MOTTE-G-0004" Warning (identity: &str = "the name that was tried", client_id: &str = "Client Identifier", address: &str = "peer address", listener: &str = "listener", cause: &str = "what was wrong")
        "Credentials were presented and are not valid. The answer to the client is the same for an unknown name and a wrong password."
        "If it is your device, give it the right password with `motte user passwd`. If you do not know the address, block it.";
    login_queue_full "MOTTE-G-0005" Warning (waiting: u64 = "password checks that wait")
        "More password checks were asked for than the pool may queue; the newest were refused as 'server busy'."
        "After a restart of a large fleet this passes by itself. Otherwise raise auth.hash_queue or find out who floods the listener.";
    connect_timeout "MOTTE-G-0006" Notice (address: &str = "peer address", listener: &str = "listener", stage: &str = "what was awaited")
        "A peer opened a connection and did not finish its handshakes and CONNECT within limits.connect_timeout_s."
        "Slow networks may need a longer limit. Many of these from one address are a slow-connection attack: restrict that address.";
    tls_failed "MOTTE-G-0007" Warning (address: &str = "peer address", listener: &str = "listener", cause: &str = "alert or error")
        "A TLS handshake failed: no common version or suite, a certificate that was not accepted, or a peer that speaks no TLS."
        "Read the cause. 'UnknownIssuer' means a certificate of another authority, 'peer sent no certificates' that the client showed none; docs/tls.md lists what else is wrong with certificates and what to do.";
    websocket_refused "MOTTE-G-0008" Warning (address: &str = "peer address", listener: &str = "listener", cause: &str = "what was wrong")
        "A WebSocket handshake was refused: wrong path, origin or subprotocol, or no WebSocket at all."
        "Let the client ask for subprotocol `mqtt` and the listener's path, and list its origin in websocket.origins.";
    proxy_header_refused "MOTTE-G-0009" Warning (address: &str = "peer address", listener: &str = "listener", cause: &str = "what was wrong")
        "A connection to a listener behind a proxy came without a valid PROXY header, or the header came from an address that is not a named proxy."
        "Name the proxy's address in proxy_protocol.from, let the proxy send the header, and let nobody else reach the listener.";
    address_refused "MOTTE-G-0010" Notice (address: &str = "peer address", listener: &str = "listener")
        "A connection was closed at once because the listener's address filter does not admit the peer."
        "If the peer should be admitted, add its range to the listener's `allow`.";
    connections_full "MOTTE-G-0011" Warning (address: &str = "peer address", listener: &str = "listener", limit: &str = "which limit was reached")
        "A connection was refused because a limit on connections was reached: in all, for one address, or for one identity."
        "Raise the limit if the number is right for your fleet; otherwise find out what opens so many connections.";
    malformed_packet "MOTTE-G-0012" Warning (client_id: &str = "Client Identifier, if known", address: &str = "peer address, before the client is known", cause: &str = "packet, field and statement")
        "A packet does not follow the standard. It was answered as the standard says and the connection was closed."
        "Update the client's library. From an unknown client this is probing.";
    protocol_error "MOTTE-G-0013" Warning (client_id: &str = "Client Identifier, if known", address: &str = "peer address, before the client is known", cause: &str = "what was done")
        "A client broke a rule of the protocol that shows only in context, such as a second CONNECT or more messages than Receive Maximum."
        "Update the client's library. From an unknown client this is probing.";
    packet_too_large "MOTTE-G-0014" Warning (client_id: &str = "Client Identifier, if known", address: &str = "peer address, before the client is known", cause: &str = "size and limit")
        "A packet is larger than the limit; before authentication the limit is 4 KiB. It was not read."
        "Raise limits.packet_bytes_max if your messages are that large.";
    keep_alive_timeout "MOTTE-G-0015" Notice (identity: &str = "the identity", client_id: &str = "Client Identifier", silence_ms: u64 = "silence allowed, in milliseconds")
        "A client was silent for one and a half times its Keep Alive and was disconnected; its Will is handled."
        "Usually a lost network. If it happens to many at once, look at the path between them and the broker.";
    session_taken_over "MOTTE-G-0016" Notice (identity: &str = "the identity", client_id: &str = "Client Identifier")
        "A client connected with the Client Identifier of a connection that was still open; the older connection was closed."
        "Once is a reconnect. Again and again is two devices with one identifier: give each its own.";
    takeover_refused "MOTTE-G-0017" Warning (identity: &str = "the identity that was refused", client_id: &str = "Client Identifier")
        "An identity tried to connect with a Client Identifier whose Session belongs to another identity. The Session was not touched."
        "Give the client an identifier of its own. If you do not know it, treat it as an attempt to take a Session.";
    client_id_refused "MOTTE-G-0018" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", cause: &str = "why")
        "An authenticated client used a Client Identifier that its policy does not permit."
        "Use the identity's own name or `{identity}-…`, or name the identifier in the identity's client_ids.";
    source_refused "MOTTE-G-0096" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", address: &str = "peer address; empty for a Unix socket", listener: &str = "listener", cause: &str = "why")
        "An authenticated client came from an address that the policy does not name for its identity, and was not let in."
        "If the device moved, change `from` of its identity in the policy. Otherwise somebody has its credential: revoke it.";
    reauthentication_refused "MOTTE-G-0019" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", cause: &str = "why")
        "A live client authenticated again and failed, or became somebody else; it was disconnected."
        "Check the client's credential, and whether it was changed or revoked meanwhile.";
    reauthenticated "MOTTE-G-0091" Info (identity: &str = "the identity", client_id: &str = "Client Identifier", method: &str = "the method of the exchange")
        "A live client proved itself again, as the one that it is."
        "Nothing: clients with tokens that end soon do so.";
    handshake_done "MOTTE-G-0020" Info (address: &str = "peer address", listener: &str = "listener", version: &str = "TLS version", suite: &str = "cipher suite", group: &str = "key exchange group")
        "A TLS handshake succeeded; the connection uses this version, suite and group."
        "Nothing. Watch for clients that do not use X25519MLKEM768: they have no protection against later quantum computers.";
    accept_failed "MOTTE-G-0021" Error (listener: &str = "listener", cause: &str = "error of the system")
        "The system could not accept a connection, mostly because the process has no file descriptors left."
        "Raise the limit on open files (LimitNOFILE=), or lower limits.connections_max below it.";
    handshake_unsigned "MOTTE-G-0022" Error (address: &str = "peer address", listener: &str = "listener", cause: &str = "why there was no signature")
        "A TLS handshake ended because the key process did not sign it. Connections that stand are not touched."
        "Look for life.keys_ended and life.keys_faulty near it: they say what is wrong with the key process or its files.";
    login_service_failed "MOTTE-G-0040" Warning (url: &str = "address of the service", cause: &str = "what went wrong")
        "The service of [auth.http] or the directory of [auth.ldap] could not be asked who a client is, or gave no answer as documented. The client was not let in and may try again."
        "See that it runs, answers in time and answers as docs/http-hook.md or docs/ldap.md says; the cause says what went wrong.";
    login_service_paused "MOTTE-G-0041" Error (url: &str = "address of the service", pause_ms: u64 = "milliseconds until it is tried again")
        "The service of [auth.http] or the directory of [auth.ldap] failed so often in a row that it is left alone for a while. Clients that need it are refused at once meanwhile; those that are connected stay."
        "Bring the service back; it is tried again after the pause.";
    login_service_back "MOTTE-G-0042" Notice (url: &str = "address of the service")
        "The service of [auth.http] or the directory of [auth.ldap] answers again and is asked as usual."
        "Nothing.";
    status_refused "MOTTE-G-0046" Warning (serial: &str = "serial number of the certificate, in hexadecimal", client_id: &str = "Client Identifier", address: &str = "peer address", listener: &str = "listener", cause: &str = "what the responder says, or why nobody knows")
        "A client showed a certificate that is revoked, or of which nobody knows whether it is, and was not let in."
        "If it is your device and revoked by mistake, give it a new certificate. If nobody knows, see gate.status_responder_failed near it.";
    status_responder_failed "MOTTE-G-0047" Warning (url: &str = "address of the responder", cause: &str = "what went wrong")
        "A responder could not be asked whether a certificate is revoked, or gave no answer that may be believed. What it answered before counts until its end; then [listener.tls] ocsp.stale says what happens."
        "See that the responder runs, answers in time, knows the certificates of its authority, and signs with the authority's key or with a certificate of it for OCSPSigning.";
    status_responder_paused "MOTTE-G-0048" Error (url: &str = "address of the responder", pause_ms: u64 = "milliseconds until it is tried again")
        "A responder failed so often in a row that it is left alone for a while. With ocsp.stale = \"refuse\" clients whose certificates nobody knows about are refused at once meanwhile."
        "Bring the responder back; it is tried again after the pause.";
    status_responder_back "MOTTE-G-0049" Notice (url: &str = "address of the responder")
        "A responder answers again and is asked as usual."
        "Nothing.";
    login_held "MOTTE-G-0060" Warning (identity: &str = "the name that was tried", client_id: &str = "Client Identifier", address: &str = "peer address", listener: &str = "listener", by: &str = "what has too many failures: address, network, identity or client id")
        "A login was refused without checking its password, because too many failed before it. It ends by itself."
        "If it is your device, give it the right password and wait, or lift the hold of its address with `motte bans remove ADDRESS`.";
    locked_out "MOTTE-G-0061" Warning (what: &str = "what is locked out: address, network, identity or client id", identity: &str = "the name that was tried last", client_id: &str = "Client Identifier", address: &str = "peer address", listener: &str = "listener", for_s: u64 = "for how long, in seconds")
        "So many logins failed that nobody is asked any more for a while, except what has proved itself before from where it comes."
        "Somebody is guessing. A device whose password is wrong does this too: correct it. Settings are in auth.attempts.";
    banned "MOTTE-G-0062" Warning (subject: &str = "address, network, identity or Client Identifier", cause: &str = "why", by: &str = "who did it; `motte`: it came by itself", until: &str = "until when")
        "Whoever this is about is turned away until then; live connections of it were closed. It ends by itself."
        "Lift it with `motte bans remove SUBJECT` if it is wrong.";
    ban_ended "MOTTE-G-0063" Notice (subject: &str = "address, network, identity or Client Identifier", how: &str = "its time is over, or who lifted it")
        "A ban has ended: whoever it was about may come in again."
        "Nothing.";
    banned_refused "MOTTE-G-0064" Notice (subject: &str = "whom the ban is about", address: &str = "peer address", listener: &str = "listener", until: &str = "until when")
        "A connection or a login was turned away because of a ban."
        "Lift the ban with `motte bans remove SUBJECT` if it is wrong.";
    client_id_contended "MOTTE-G-0045" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier")
        "A Session was taken over five times within a minute: two clients with one identifier take it from each other."
        "Give each device its own identifier. If there is only one device, somebody else has its credential: revoke it.";
    password_ageing "MOTTE-G-0081" Warning (identity: &str = "the identity", client_id: &str = "Client Identifier", days: u64 = "days until the password is not taken any more")
        "A client came in with a password that is older than auth.passwords.max_age_days. It was let in, and told so in CONNACK (5.0)."
        "Give it another password with `motte user passwd` or `motte user rotate` before the days are over.";
    credential_ended "MOTTE-G-0050" Notice (identity: &str = "the identity", client_id: &str = "Client Identifier")
        "The token that a client came in with, or the permission that a service gave it, has ended, and its connection with it. Its Session stays as long as it would after any lost connection."
        "Nothing, if the client comes back. With a token, let it fetch a new one before the old one ends.";
}
