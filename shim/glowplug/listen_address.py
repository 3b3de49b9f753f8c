"""An address to listen on, as the configuration has it. No I/O."""

import ipaddress


def parse(text: str) -> tuple[str, int]:
    """127.0.0.1:9464 or [::1]:9464 in its two parts. Raises ValueError for anything else."""
    host, _, port = text.rpartition(":")
    found = ipaddress.ip_address(host[1:-1] if host[:1] + host[-1:] == "[]" else host)
    if (found.version == 6) != host.startswith("[") or not port.isascii() or not port.isdigit():
        raise ValueError(f"expected ADDRESS:PORT, got {text!r}")
    if not 0 < int(port) < 1 << 16:
        raise ValueError(f"expected a port from 1 to 65535, got {port}")
    return str(found), int(port)


def is_one(text: str) -> bool:
    """Whether it is such an address."""
    try:
        parse(text)
    except ValueError:
        return False
    return True
