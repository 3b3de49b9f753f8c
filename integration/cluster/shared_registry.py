"""A registry on the first node, as both nodes reach it, and the keys that they share, out of a Secret on the second."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from hack.clusterlib import node
from hack.clusterlib.machine import Machine
from hack.clusterlib.place import FIRST

from glowplug.registry.settings import RegistrySettings
from integration import shared_keys
from integration.cluster.cluster import wait_until
from integration.registry import PROGRAMS

HOST = f"{FIRST.address}:5000"
ON_NODES = "/etc/glowplug/registry"
_ANSWERS = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)"


class SharedRegistry:
    """Of the nodes' own network; plain HTTP. `directory`: for its storage and the keys."""

    def __init__(self, directory: str) -> None:
        self._keys = f"{directory}/keys"
        self._storage = f"{directory}/storage"
        fields = {"repository": f"{HOST}/glowplug", "tls": False, **shared_keys.keys(self._keys)}
        self._settings = RegistrySettings(**fields)  # type: ignore[arg-type]

    @contextmanager
    def running(self, first: Machine) -> Iterator[None]:
        """While it lasts it answers."""
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": self._storage}},
            "http": {"addr": HOST, "secret": "tests"},
        }
        path = f"{self._storage}.json"
        node.write(first, path, json.dumps(config))
        first.start("registry", f"{PROGRAMS}/docker-registry", "serve", path)
        ask = ("/usr/bin/python3", "-c", _ANSWERS, f"http://{HOST}/v2/")
        try:
            wait_until(lambda: first.run(*ask, check=False).returncode == 0, 60, "the registry")
            yield
        finally:
            first.stop("registry")

    def toml_keys(self) -> dict[str, Any]:
        """For the first node's configuration: the keys where they were made."""
        return shared_keys.toml_keys(self._settings)

    def values(self) -> dict[str, Any]:
        """For the chart's `config.registry`: the keys where a node gets those of a Secret."""
        text = json.dumps(asdict(self._settings))
        found: dict[str, Any] = json.loads(text.replace(self._keys, ON_NODES))
        return found

    def secret(self, namespace: str, name: str) -> dict[str, Any]:
        """With each key as a file."""
        data = {}
        for file_name in os.listdir(self._keys):
            with open(f"{self._keys}/{file_name}", "rb") as file:
                data[file_name] = base64.b64encode(file.read()).decode()
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
