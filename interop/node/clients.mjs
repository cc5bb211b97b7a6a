// Round trips through Motte with MQTT.js: TLS and secure WebSocket, 3.1.1 and 5.0, every QoS.
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const [url, state, protocol] = process.argv.slice(2);
const protocolVersion = Number(protocol);

const options = (name, suffix) => ({
  protocolVersion,
  clientId: `${name}-js-${suffix}`,
  reconnectPeriod: 0,
  connectTimeout: 10_000,
  ca: readFileSync(`${state}/ca.pem`),
  cert: readFileSync(`${state}/identities/${name}/cert.pem`),
  key: readFileSync(`${state}/identities/${name}/key.pem`),
});

const suffix = `${protocol}-${url.split(":")[0]}`;
const base = `devices/device-1/js/${suffix}`;
const reader = await mqtt.connectAsync(url, options("operator", suffix));
const got = new Map();
const all = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`got only ${[...got.keys()]}`)), 10_000).unref();
  reader.on("message", (topic, payload, packet) => {
    got.set(topic, { payload: payload.toString(), qos: packet.qos, user: packet.properties?.userProperties });
    if (got.size === 3) resolve();
  });
});
await reader.subscribeAsync(`${base}/#`, { qos: 2 });
const writer = await mqtt.connectAsync(url, options("device-1", suffix));
for (const qos of [0, 1, 2]) {
  const properties = protocolVersion === 5 ? { userProperties: { unit: "C" } } : undefined;
  await writer.publishAsync(`${base}/${qos}`, `payload ${qos}`, { qos, properties });
}
await all;
for (const qos of [0, 1, 2]) {
  const { payload, qos: seen, user } = got.get(`${base}/${qos}`);
  if (payload !== `payload ${qos}` || seen !== qos) throw new Error(`QoS ${qos}: ${payload} ${seen}`);
  if (protocolVersion === 5 && user.unit !== "C") throw new Error("user property lost");
}
await writer.endAsync();
await reader.endAsync();
console.log("ok");
