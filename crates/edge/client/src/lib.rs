//! A small blocking MQTT client for tools and tests.
