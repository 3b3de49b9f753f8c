"""Other nodes that serve what they have (peer_server.py): who they are, and which of them have an artifact.

They speak the registry's protocol, so each is one more source of what has a digest. Some of them are queried, drawn at
random by each pull: so many nodes that start at once ask as many others, and those that have it share the work.
"""

import random
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from glowplug.errors import RegistryError
from glowplug.registry.credentials import Credentials
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.transport import Tls, Transport

MAX_PEERS = 8
_PORT = 443
_TIMEOUT_S = 5.0
_MISSING = frozenset((404,))


def transports(settings: RegistrySettings) -> list[Transport]:
    """To at most MAX_PEERS of the nodes that the configuration names; a name that leads nowhere is left out."""
    places = sorted({place for peer in settings.peers for place in _places(peer)})
    tls = Tls(settings.peer_ca, settings.certificate, settings.key)
    return [
        Transport(
            base,
            Credentials(),
            tls,
            settings.parallel,
            timeout_s=_TIMEOUT_S,
            tries=1,
            name=name,
            redirects=False,
        )
        for base, name in random.sample(places, min(MAX_PEERS, len(places)))
    ]


def having(peers: Sequence[Transport], path: str, digest: str) -> list[Transport]:
    """Those that have a manifest, queried side by side."""
    if not peers:
        return []
    with ThreadPoolExecutor(len(peers), thread_name_prefix="peers") as pool:
        answers = list(pool.map(lambda peer: _has(peer, path, digest), peers))
    return [peer for peer, has in zip(peers, answers, strict=True) if has]


def _has(peer: Transport, path: str, digest: str) -> bool:
    try:
        return peer.request("HEAD", f"/v2/{path}/manifests/{digest}", scope="", fine=_MISSING).status == 200
    except RegistryError:
        return False


def _places(peer: str) -> list[tuple[str, str]]:
    """https://ADDRESS:PORT of each address of a peer's host, and the name that its certificate is for."""
    parts = urlsplit(peer)
    host, port = parts.hostname or "", parts.port or _PORT
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    addresses = {str(one[4][0]) for one in found}
    return [(f"https://[{one}]:{port}" if ":" in one else f"https://{one}:{port}", host) for one in addresses]
