//! Foreign clients against the real broker: mosquitto, paho, MQTT.js, rumqttc and openssl, over TLS, WebSocket and TCP.
//!
//! `interop/setup.sh` installs what is missing; a test that misses its client fails and says so.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod activation;
mod at_rest;
mod bans;
mod clients;
mod control;
mod directory;
mod disk;
mod hole;
mod import;
mod issuers;
mod keys;
mod outward;
mod people;
mod practices;
mod process;
mod sealed;
mod site;
mod status;
mod stepping_up;
mod tls;
mod tokens;
mod tunnel;
mod vault;
