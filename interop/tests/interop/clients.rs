//! Round trips with each client.

use std::process::Command;

use motte_testkit::{finish, wait_until};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

use crate::site::{Site, here, installed, need};

#[test]
fn paho_over_tls_and_secure_websocket_in_both_versions() {
    let python = installed("python/bin/python");
    need(&python);
    let site = Site::start();
    for (listener, transport) in [("tls", "tcp"), ("wss", "websockets")] {
        for protocol in ["4", "5"] {
            let port = site.address(listener).port().to_string();
            let mut command = Command::new(&python);
            command.arg(here("clients_paho.py")).args(["localhost", &port, transport]);
            command.arg(site.dir.path().join("motte-state")).arg(protocol);
            let (good, text) = finish(&mut command);
            assert!(good && text.contains("ok"), "{transport} {protocol}: {text}");
        }
    }
}

#[test]
fn mqtt_js_over_tls_and_secure_websocket_in_both_versions() {
    need(&installed("node/node_modules/mqtt"));
    let site = Site::start();
    for (listener, scheme, path) in [("tls", "mqtts", ""), ("wss", "wss", "/mqtt")] {
        for protocol in ["4", "5"] {
            let url = format!("{scheme}://localhost:{}{path}", site.address(listener).port());
            let mut command = Command::new("node");
            command.current_dir(installed("node")).arg("clients.mjs").arg(url);
            command.arg(site.dir.path().join("motte-state")).arg(protocol);
            let (good, text) = finish(&mut command);
            assert!(good && text.contains("ok"), "{scheme} {protocol}: {text}");
        }
    }
}

#[test]
fn mosquitto_over_tls_in_all_three_versions() {
    let site = Site::start();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        // 3.1 takes at most 23 bytes as Client Identifier.
        let topic = format!("devices/device-1/m/{version}");
        let mut subscriber = site.mosquitto("mosquitto_sub", "operator", &format!("s{version}"));
        subscriber.args(["-V", version, "-t", &topic, "-q", "2", "-C", "3", "-W", "15", "-F", "%q %p"]);
        let subscriber =
            subscriber.stdout(std::process::Stdio::piped()).spawn().expect("mosquitto_sub is installed");
        site.broker
            .event_where("gate.authenticated", |e| e.field("client_id") == format!("operator-s{version}"));
        // The subscription stands once a probe published with QoS 1 finds it; until then nobody takes the probe.
        for qos in ["0", "1", "2"] {
            let mut publisher = site.mosquitto("mosquitto_pub", "device-1", &format!("p{version}{qos}"));
            publisher.args(["-V", version, "-t", &topic, "-q", qos, "-m", &format!("m{qos}"), "-r"]);
            let (good, text) = finish(&mut publisher);
            assert!(good, "{text}");
        }
        let output = subscriber.wait_with_output().expect("mosquitto_sub ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().last(), Some("2 m2"), "{version}: {text}");
    }
}

#[test]
fn mosquitto_shares_with_motte_sub_what_motte_pub_sends() {
    let site = Site::start();
    let mut subscriber = site.motte("sub", "operator");
    subscriber.args(["-t", "devices/+/temperature", "--count", "1", "--json", "-q", "1"]);
    let subscriber = subscriber.stdout(std::process::Stdio::piped()).spawn().expect("motte runs");
    site.broker.event_where("gate.authenticated", |e| e.field("identity") == "operator");
    let mut publisher = site.motte("pub", "device-1");
    publisher.args(["-t", "devices/device-1/temperature", "-m", "21.5", "-q", "1", "--retain"]);
    let (good, text) = finish(publisher.args(["--content-type", "text/plain", "--property", "unit=C"]));
    assert!(good, "{text}");
    let output = subscriber.wait_with_output().expect("motte sub ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["\"payload\":\"21.5\"", "\"content_type\":\"text/plain\"", "[\"unit\",\"C\"]"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn rumqttc_over_tls_with_every_qos() {
    let site = Site::start();
    // The process's default, for a client that does not choose.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let read = |name: &str| std::fs::read(site.path(name)).expect("the state directory has it");
        let mut options = MqttOptions::new("device-1-rumqttc", "localhost", site.address("tls").port());
        options.set_transport(Transport::Tls(TlsConfiguration::Simple {
            ca: read("ca.pem"),
            alpn: None,
            client_auth: Some((read("identities/device-1/cert.pem"), read("identities/device-1/key.pem"))),
        }));
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe("devices/device-1/r/#", QoS::ExactlyOnce).await.expect("queued");
        let mut got = Vec::new();
        let limit = tokio::time::timeout(motte_testkit::DEADLINE, async {
            while got.len() < 3 {
                match events.poll().await.expect("the connection stands") {
                    Event::Incoming(Incoming::SubAck(_)) => {
                        for (n, qos) in
                            [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate()
                        {
                            client
                                .publish(format!("devices/device-1/r/{n}"), qos, false, "x")
                                .await
                                .expect("queued");
                        }
                    }
                    Event::Incoming(Incoming::Publish(publish)) => got.push(publish.topic.clone()),
                    _ => {}
                }
            }
        });
        limit.await.expect("three messages come in time");
        assert_eq!(got, ["devices/device-1/r/0", "devices/device-1/r/1", "devices/device-1/r/2"]);
    });
}

#[test]
fn a_wrong_password_is_refused_and_a_right_one_taken() {
    let site = Site::start();
    site.password("device-7", "a long enough secret");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    let port = site.address("tcp").port().to_string();
    let publish = |password: &str| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-i", "device-7", "-u", "device-7", "-P", password]);
        finish(command.args(["-t", "devices/device-7/x", "-m", "x", "-q", "1"]))
    };
    assert!(!publish("a wrong secret of mine").0);
    let failed = site.broker.event("gate.login_failed");
    assert_eq!(
        (failed.field("identity").as_str(), failed.field("cause").as_str()),
        ("device-7", "the password is wrong")
    );
    let (good, text) = publish("a long enough secret");
    assert!(good, "{text}");
    wait_until("the client was accepted by password", || {
        site.broker.events("gate.authenticated").iter().any(|e| e.field("method") == "password")
    });
}
