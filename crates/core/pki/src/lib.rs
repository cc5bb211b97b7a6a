//! The private certificate authority and certificate inspection, without sockets.
