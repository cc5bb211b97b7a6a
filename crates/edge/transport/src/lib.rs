//! Listening, accepting and speaking TCP, TLS, WebSocket, Unix sockets and the PROXY header.
