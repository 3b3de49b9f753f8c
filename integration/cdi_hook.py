#!/usr/bin/env python3
"""Stands for nvidia-cdi-hook disable-device-node-modification, with /proc/swaps for /proc/driver/nvidia/params.

A createContainer hook: in the container's mount namespace, before its root is its own. The container's state comes by
standard input. A file on a scratch tmpfs is mounted over the file of /proc, then the tmpfs is unmounted lazily.
"""

import json
import os
import subprocess
import sys

CONTENT = "ModifyDeviceFiles: 0\n"


def main() -> None:
    with open(f"{json.load(sys.stdin)['bundle']}/config.json") as file:
        bundle = json.load(file)
    root = bundle["root"]["path"]
    scratch = f"{root}/run/hook-scratch"
    os.makedirs(scratch, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", scratch], check=True)
    with open(f"{scratch}/params", "w") as file:
        file.write(CONTENT)
    os.chmod(f"{scratch}/params", 0o444)
    subprocess.run(["mount", "--bind", f"{scratch}/params", f"{root}/proc/swaps"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", f"{root}/proc/swaps"], check=True)
    subprocess.run(["umount", "-l", scratch], check=True)


if __name__ == "__main__":
    main()
