"""A client of MQTT 5.0 that proves its password by SCRAM-SHA-256, with nothing but the standard library."""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import sys

host, port, authority, name, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
METHOD = "SCRAM-SHA-256"


def number(value):
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def properties(data):
    body = b"\x15" + string(METHOD) + b"\x16" + string(data)
    return number(len(body)) + body


def read(stream):
    def exactly(count):
        data = b""
        while len(data) < count:
            more = stream.recv(count - len(data))
            assert more, "the broker closed the connection"
            data += more
        return data

    first, length, shift = exactly(1)[0], 0, 0
    while True:
        byte = exactly(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first, exactly(length)


def data_of(body):
    """Authentication Data among the properties, which stand behind their length."""
    at = body.index(b"\x15" + string(METHOD)) + 3 + len(METHOD)
    assert body[at] == 0x16, body
    length = int.from_bytes(body[at + 1:at + 3], "big")
    return body[at + 3:at + 3 + length].decode()


def mac(key, text):
    return hmac.new(key, text.encode() if isinstance(text, str) else text, hashlib.sha256).digest()


class Scram:
    def __init__(self):
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = "n=" + name.replace("=", "=3D").replace(",", "=2C") + ",r=" + self.nonce

    def first(self):
        return "n,," + self.bare

    def last(self, server_first):
        said = dict(part.split("=", 1) for part in server_first.split(","))
        assert said["r"].startswith(self.nonce) and len(said["r"]) > len(self.nonce), "no nonce of the broker"
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(said["s"]), int(said["i"]))
        client_key = mac(salted, "Client Key")
        without = "c=biws,r=" + said["r"]
        message = self.bare + "," + server_first + "," + without
        signature = mac(hashlib.sha256(client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = "v=" + base64.b64encode(mac(mac(salted, "Server Key"), message)).decode()
        return without + ",p=" + base64.b64encode(proof).decode()


context = ssl.create_default_context(cafile=authority)
stream = context.wrap_socket(socket.create_connection((host, port), 10), server_hostname="localhost")
scram = Scram()
body = string("MQTT") + b"\x05\x02\x00\x3c" + properties(scram.first()) + string(name)
stream.sendall(b"\x10" + number(len(body)) + body)
first, body = read(stream)
assert (first, body[0]) == (0xF0, 0x18), (first, body)
answer = b"\x18" + properties(scram.last(data_of(body)))
stream.sendall(b"\xf0" + number(len(answer)) + answer)
first, body = read(stream)
assert first == 0x20, first
if body[1] != 0:
    print("refused", hex(body[1]))
    sys.exit(0)
assert data_of(body) == scram.expected, "this is not the broker that has the password"

# The same once more, on the live connection.
scram = Scram()
answer = b"\x19" + properties(scram.first())
stream.sendall(b"\xf0" + number(len(answer)) + answer)
first, body = read(stream)
assert (first, body[0]) == (0xF0, 0x18), (first, body)
answer = b"\x18" + properties(scram.last(data_of(body)))
stream.sendall(b"\xf0" + number(len(answer)) + answer)
first, body = read(stream)
assert (first, body[0]) == (0xF0, 0), (first, body)
assert data_of(body) == scram.expected
print("ok")
