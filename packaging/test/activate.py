#!/usr/bin/python3
"""Hands over a listening TCP socket as a service manager does: activate.py NAME ADDRESS:PORT COMMAND..."""

import os
import socket
import sys

if len(sys.argv) < 4:
    sys.exit(__doc__)
name, (address, port) = sys.argv[1], sys.argv[2].rsplit(":", 1)
descriptor = socket.create_server((address, int(port))).detach()
if descriptor != 3:
    os.dup2(descriptor, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES=name)
os.execvp(sys.argv[3], sys.argv[3:])
