"""The IP addresses of a network namespace, read through a process that is in it (/proc/PID/net)."""

import ipaddress
import re

_PROC_NAMESPACE = re.compile(r"/proc/(\d+)/ns/\w+")


def process_of(namespace_path: str) -> int | None:
    """The pid in a path like /proc/PID/ns/net, which is how CRI names its pods' namespaces."""
    found = _PROC_NAMESPACE.fullmatch(namespace_path)
    return int(found[1]) if found else None


def of_process(pid: int | str) -> tuple[str, ...]:
    """The addresses that the process's network namespace calls its own, without loopback; sorted.

    `pid` may be "self". Raises OSError when there is no such process.
    """
    found = _ipv4(pid) | _ipv6(pid)
    return tuple(sorted(str(address) for address in found if not address.is_loopback))


def _ipv4(pid: int | str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Each address stands over a line "/32 host LOCAL" in the forwarding table."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    address = ""
    with open(f"/proc/{pid}/net/fib_trie") as lines:
        for line in lines:
            if "|-- " in line:
                address = line.split("|-- ", 1)[1].strip()
            elif "/32 host LOCAL" in line:
                found.add(ipaddress.IPv4Address(address))
    return found


def _ipv6(pid: int | str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        with open(f"/proc/{pid}/net/if_inet6") as lines:
            return {ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in lines}
    except FileNotFoundError:
        return set()  # a kernel without IPv6
