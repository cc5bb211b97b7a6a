#!/usr/bin/env bash
# Installs the foreign clients that the interop tests use: mosquitto, paho (Python) and MQTT.js (Node).
# Needs root for Debian's packages; run it once, from anywhere.
set -euo pipefail
cd "$(dirname "$0")"
missing=()
for pair in mosquitto_pub:mosquitto-clients mosquitto:mosquitto openssl:openssl python3:python3-venv node:nodejs npm:npm; do
    command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing ${missing[*]}"
    apt-get update -qq && apt-get install -y -qq "${missing[@]}" >/dev/null
fi
if [ ! -x python/bin/python ]; then
    python3 -m venv python
fi
python/bin/python -c 'import paho.mqtt' 2>/dev/null || python/bin/pip install --quiet 'paho-mqtt==2.1.0'
[ -d node/node_modules/mqtt ] || (cd node && npm install --no-audit --no-fund --silent)
echo "interop: ready"
