#!/usr/bin/env bash
# Installs the foreign clients that the interop tests use: mosquitto, paho (Python) and MQTT.js (Node), the latter two into
# target/interop; a token in software (SoftHSM); a directory (OpenLDAP's slapd, which the tests start themselves, on loopback and
# with a configuration of its own); faketime, for answers of other days; strace, which puts faults under a broker; oathtool, for codes;
# wireguard-go and its tools, for tunnels between network namespaces; and valgrind, which counts the instructions of the hot path.
# Needs root for Debian's packages; run it once, from anywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for pair in mosquitto_pub:mosquitto-clients mosquitto:mosquitto openssl:openssl python3:python3-venv node:nodejs npm:npm valgrind:valgrind \
    softhsm2-util:softhsm2 strace:strace faketime:faketime slapd:slapd ldapadd:ldap-utils oathtool:oathtool \
    ip:iproute2 wireguard-go:wireguard-go wg:wireguard-tools; do
    PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing ${missing[*]}"
    # A directory of the system's own is not wanted.
    echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
place=target/interop
mkdir -p "$place/node"
[ -x "$place/python/bin/python" ] || python3 -m venv "$place/python"
"$place/python/bin/python" -c 'import paho.mqtt' 2>/dev/null || "$place/python/bin/pip" install --quiet 'paho-mqtt==2.1.0'
cp interop/node/package.json interop/node/clients.mjs "$place/node/"
[ -d "$place/node/node_modules/mqtt" ] || (cd "$place/node" && npm install --no-audit --no-fund --silent)
echo "interop: ready"
