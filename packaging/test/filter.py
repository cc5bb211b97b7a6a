#!/usr/bin/python3
"""Runs a command under the system calls and address families that a unit leaves its service: filter.py UNIT COMMAND...

The groups of system calls are asked of systemd-analyze, the filter is made by libseccomp: both are what systemd itself uses.
"""

import ctypes
import errno
import os
import re
import subprocess
import sys


def groups():
    """Group -> calls, with the groups in it resolved."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    ).stdout
    found, current = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            current = found.setdefault(word, set())
        elif current is not None and line.startswith("    ") and word and not word.startswith("#"):
            current.add(word)

    def resolved(name):
        calls = set()
        for word in found[name]:
            calls |= resolved(word) if word.startswith("@") else {word}
        return calls

    return {name: resolved(name) for name in found}


def settings(unit, key):
    with open(unit, encoding="utf-8") as lines:
        return [line.split("=", 1)[1].strip() for line in lines if line.startswith(key + "=")]


def permitted(unit):
    known = groups()
    calls = set(known["@default"])
    for value in settings(unit, "SystemCallFilter"):
        words = value.lstrip("~").split()
        named = set().union(*(known[word] if word.startswith("@") else {word} for word in words))
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def confine(unit):
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p

    def answer(number):
        return 0x00050000 | number

    def must(result, what):
        if result != 0:
            sys.exit(f"filter.py: {what}: {os.strerror(-result)}")

    class Comparison(ctypes.Structure):
        _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("one", ctypes.c_uint64), ("two", ctypes.c_uint64)]

    add = library.seccomp_rule_add_array
    add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)]
    allow = 0x7FFF0000
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(answer(errno.EPERM))))
    families = " ".join(settings(unit, "RestrictAddressFamilies")).split()
    equal = 4
    for name in sorted(permitted(unit)):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue
        if name != "socket" or not families:
            must(add(context, allow, number, 0, None), name)
            continue
        listed = {2: "AF_INET", 10: "AF_INET6", 1: "AF_UNIX"}
        for family in range(46):
            action = allow if listed.get(family) in families else answer(errno.EAFNOSUPPORT)
            must(add(context, action, number, 1, ctypes.byref(Comparison(0, equal, family, 0))), name)
    # An own process without privileges may load it, as the broker loads its own.
    must(ctypes.CDLL(None).prctl(38, 1, 0, 0, 0), "no_new_privs")
    must(library.seccomp_load(context), "seccomp_load")


def main():
    if len(sys.argv) < 3 or not re.search(r"\.service$", sys.argv[1]):
        sys.exit(__doc__)
    confine(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])


main()
