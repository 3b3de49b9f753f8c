"""Keys and credentials that the configuration names as `secret:NAMESPACE/NAME/KEY`: from Kubernetes Secrets.

They are read by API when a push or pull begins, and are never on a disk: each is a file in memory (memfd_create(2)) for
as long as that process needs it, so that everything which reads a key reads a file. No API here: who calls brings it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from glowplug.errors import UsageError
from glowplug.registry.settings import SECRET, RegistrySettings

FILES = ("credentials", "ca", "sign_key")
"""Keys of the configuration that may name one, as may each entry of TABLES."""
TABLES = ("trust", "recipients", "identities")

Fetch = Callable[[str, str], Mapping[str, bytes]]
"""The data of a Secret, by namespace and name. Raises KubernetesError."""


def are_configured(settings: RegistrySettings) -> bool:
    """Whether any key of the configuration names a Secret."""
    paths = [getattr(settings, name) for name in FILES]
    for name in TABLES:
        paths.extend(path for listed in getattr(settings, name).values() for path in listed)
    return any(map(SECRET.fullmatch, paths))


@contextmanager
def fetched(settings: RegistrySettings, namespace: str, fetch: Fetch) -> Iterator[RegistrySettings]:
    """The settings for one namespace, each reference in them a path that lasts as long as this.

    Raises UsageError: a Secret has no such key; KubernetesError.
    """
    known: dict[tuple[str, str], Mapping[str, bytes]] = {}
    with ExitStack() as opened:

        def path(text: str) -> str:
            found = SECRET.fullmatch(text)
            if found is None:
                return text
            place = found["namespace"].replace("{namespace}", namespace), found["name"]
            if place not in known:
                known[place] = fetch(*place)
            content = known[place].get(found["key"])
            if content is None:
                raise UsageError(f"Secret {'/'.join(place)} has no key {found['key']}")
            descriptor = os.memfd_create("glowplug-secret", os.MFD_CLOEXEC)
            opened.callback(os.close, descriptor)
            os.fchmod(descriptor, 0o600)
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            return f"/proc/self/fd/{descriptor}"

        changes: dict[str, object] = {name: path(getattr(settings, name)) for name in FILES}
        for name in TABLES:
            table = getattr(settings, name)
            listed = table.get(namespace, table.get("*", ()))
            changes[name] = {namespace: tuple(path(one) for one in listed)}
        yield replace(settings, **changes)  # type: ignore[arg-type]
