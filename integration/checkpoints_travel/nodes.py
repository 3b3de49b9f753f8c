"""Caches that share a registry, and what is in it: what the tests of this folder work on."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import zstandard
from tests import cache_made, checkpoint_made

from glowplug.cache.digest import digest_files
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File
from glowplug.errors import GlowplugError
from glowplug.registry import look, opened
from glowplug.registry import pull as pulls
from glowplug.registry import push as pushes
from glowplug.registry.found import Found
from glowplug.registry.settings import RegistrySettings
from integration.registry import PROGRAMS, Registry

NAMESPACE = "models"
PLANTED = b"a secret in the memory of the process"


class Node:
    """A cache, and the registry as it is configured there."""

    def __init__(self, directory: Path, settings: RegistrySettings) -> None:
        self.store = Store(str(directory))
        self.settings = settings

    def made(self, files: dict[str, bytes] | None = None, **fields: Any) -> str:
        """A checkpoint in the cache."""
        with self.store.draft(64 << 20) as draft:
            cache_made.write(draft.path, {**cache_made.FILES, **(files or {})})
            return self.published(draft, **fields)

    def published(self, draft: Any, **fields: Any) -> str:
        listed = {
            path: File(str(one["kind"]), int(one["size"]), str(one["digest"]))
            for path, one in digest_files(draft.path).items()
        }
        return self.store.publish(draft, manifests.dumps(checkpoint_made.manifest_of(files=listed, **fields)))

    def push(self, checkpoint: str, **how: Any) -> pushes.Pushed:
        with opened.repository(self.settings, NAMESPACE) as repository:
            return pushes.push(self.store, repository, self.settings, checkpoint, **how)

    def look(self, tag: str) -> Found:
        with opened.repository(self.settings, NAMESPACE) as repository:
            return look.by_tag(repository, self.settings, self.store.root, NAMESPACE, tag)

    def pull(self, tag: str) -> pulls.Pulled:
        with opened.repository(self.settings, NAMESPACE) as repository:
            found = look.by_tag(repository, self.settings, self.store.root, NAMESPACE, tag)
            return pulls.pull(self.store, repository, self.settings, found)

    def is_untouched(self) -> bool:
        """Whether nothing of any checkpoint is in the cache."""
        return self.store.ids() == [] and os.listdir(f"{self.store.root}/drafts") == []


def memory(count: int = 3) -> dict[str, bytes]:
    """Some chunks' worth of it, the secret in each."""
    return {f"memory/pages-{number}.extent": os.urandom(700 << 10) + PLANTED for number in range(count)}


def is_stored(registry: Registry, secret: bytes) -> bool:
    for path in [*registry.files(), f"{registry.directory}/registry.log"]:
        with open(path, "rb") as file:
            content = file.read()
        if secret in content:
            return True
        with suppress(zstandard.ZstdError):
            if secret in zstandard.ZstdDecompressor().decompress(content):
                return True
    return False


def debian(registry: Registry, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of Debian's, logged in to the registry."""
    env = {
        **os.environ,
        "SSL_CERT_FILE": registry.ca,
        "DOCKER_CONFIG": registry.docker_directory,
        "HOME": registry.directory,
        "COSIGN_PASSWORD": "",
    }
    return subprocess.run(
        [f"{PROGRAMS}/{program}", *arguments], env=env, capture_output=True, text=True, timeout=60
    )


def killed(work: Callable[[], object]) -> int:
    """The status of a process of its own that does it: a signal's number below 0."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except GlowplugError:
            os._exit(3)
        finally:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def kill_yourself(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
