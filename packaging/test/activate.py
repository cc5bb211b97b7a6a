#!/usr/bin/python3
"""Hands over a listening TCP socket as a service manager does, and a Unix socket where it is one: activate.py NAME ADDRESS:PORT[,PATH] COMMAND..."""

import fcntl
import os
import socket
import sys

if len(sys.argv) < 4:
    sys.exit(__doc__)
name, (where, _, path) = sys.argv[1], sys.argv[2].partition(",")
address, port = where.rsplit(":", 1)
descriptors = [socket.create_server((address, int(port))).detach()]
if path:
    control = socket.socket(socket.AF_UNIX)
    control.bind(path)
    control.listen()
    os.chown(path, 65534, 65534)
    descriptors.append(control.detach())
# Above the numbers that they get.
descriptors = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in descriptors]
for number, descriptor in enumerate(descriptors, 3):
    os.dup2(descriptor, number)
    os.set_inheritable(number, True)
names = ":".join([name] * len(descriptors))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)), LISTEN_FDNAMES=names)
os.execvp(sys.argv[3], sys.argv[3:])
