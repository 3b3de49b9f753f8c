"""A node's cache for the tests of the commands: real checkpoints of the core's manifest, and commands run in it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests import cache_made, checkpoint_made

from glowplug import paths
from glowplug.cache.digest import digest_files
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File
from glowplug.cli import main
from glowplug.jsontext import dumps


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str


class Node:
    """A cache and a run directory beneath a temporary one; no agent, no containerd."""

    def __init__(
        self, directory: str, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.directory = directory
        self.config = f"{directory}/config.toml"
        self.cache = f"{directory}/cache"
        self._patch = patch
        self._capture = capture
        patch.setattr(paths, "RUN_DIR", f"{directory}/run")
        self.configure({})

    def configure(self, settings: Mapping[str, object]) -> None:
        """config.toml again, with these keys besides."""
        keys = {
            "cache": self.cache,
            "containerd_socket": f"{self.directory}/none.sock",
            "criu": f"{self.directory}/no-criu",
            "runc": f"{self.directory}/no-runc",
            "min_free_bytes": 0,
            **settings,
        }
        with open(self.config, "w") as file:
            file.writelines(f"{name} = {dumps(value)}\n" for name, value in keys.items())

    @property
    def store(self) -> Store:
        """The cache, opened again."""
        return Store(self.cache)

    def published(self, created: str = "2026-03-01T12:00:00Z", **fields: Any) -> str:
        """A checkpoint in the cache; fields are the core manifest's. Its id."""
        store = self.store
        with store.draft(1 << 16) as draft:
            cache_made.write(draft.path)
            files = {
                path: File(str(file["kind"]), int(file["size"]), str(file["digest"]))
                for path, file in digest_files(draft.path).items()
            }
            manifest = checkpoint_made.manifest_of(created=created, files=files, **fields)
            return store.publish(draft, manifests.dumps(manifest))

    def started(self, time: float, outcome: str, **fields: object) -> None:
        """An outcome in the spool, as the runtime leaves it (outcomes/report.py)."""
        said = {
            "format": 1,
            "time": time,
            "container_id": "c0" * 32,
            "namespace": "models",
            "pod": "web",
            "container": "main",
            "outcome": outcome,
            "total_s": 0.25,
            **fields,
        }
        self.spooled(f"{time:.6f}-1", {name: value for name, value in said.items() if value is not None})

    def spooled(self, name: str, record: Mapping[str, object]) -> None:
        """Any record in the spool."""
        os.makedirs(paths.spool(), exist_ok=True)
        with open(f"{paths.spool()}/{name}.json", "w") as file:
            file.write(dumps(record))

    def run(self, *arguments: str) -> Ran:
        """`glowplug` with these arguments, as the console script runs it; output as in a pipe."""
        self._capture.readouterr()
        self._patch.setattr("sys.argv", ["glowplug", *arguments, "--config", self.config])
        status = 0
        try:
            main.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        said = self._capture.readouterr()
        return Ran(status, said.out, said.err)
