#!/usr/bin/env python3
"""A CNI plugin for a machine that has no bridge: a pod's address is a second one of its loopback interface.

Nobody outside reaches it. Inside, a connection to it does not come from 127.0.0.1. (CNI specification, 0.4.0.)
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
SIOCSIFADDR, SIOCSIFFLAGS = 0x8916, 0x8914
IFF_UP = 1


def main() -> None:
    """ADD gives an address drawn from the container's id; anything else has nothing to do."""
    config = json.load(sys.stdin)
    command = os.environ["CNI_COMMAND"]
    if command == "VERSION":
        print(json.dumps({"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}))
        return
    if command != "ADD":
        return
    digest = hashlib.sha256(os.environ["CNI_CONTAINERID"].encode()).digest()
    address = f"10.200.{digest[0]}.{digest[1] % 253 + 1}"
    give(os.environ["CNI_NETNS"], address)
    interface = {"name": os.environ["CNI_IFNAME"], "sandbox": os.environ["CNI_NETNS"]}
    ip = {"version": "4", "address": f"{address}/32", "interface": 0}
    print(json.dumps({"cniVersion": config["cniVersion"], "interfaces": [interface], "ips": [ip], "dns": {}}))


def give(namespace: str, address: str) -> None:
    """The loopback interface of the network namespace is up and has the address too."""
    fd = os.open(namespace, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns into {namespace}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
        family = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s", b"lo:1", family))


if __name__ == "__main__":
    main()
