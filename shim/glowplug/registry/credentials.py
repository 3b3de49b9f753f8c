"""Who we are to a registry: the file that `docker login` writes (config.json), or a pull secret's .dockerconfigjson."""

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glowplug.errors import UsageError

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_TIMEOUT_S = 10.0
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """`token`: an identity token that is exchanged for others. Never printed."""

    user: str = ""
    password: str = ""
    token: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there are any."""
        return bool(self.user or self.token)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def of(file: str, host: str) -> Credentials:
    """Those for a registry's HOST[:PORT]; none where the file has none, or none was set. Raises UsageError."""
    if not file:
        return Credentials()
    try:
        with open(file, "rb") as opened:
            plain = json.load(opened)
        helper = plain.get("credHelpers", {}).get(host)
        if helper:
            return _of_helper(str(helper), host)
        entry = _entry(plain.get("auths", {}), host)
        if entry is None and plain.get("credsStore"):
            return _of_helper(str(plain["credsStore"]), host)
        return _of_entry(entry or {})
    except OSError as error:
        raise UsageError(f"{file}: the registry's credentials can't be read: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError, RecursionError, binascii.Error):
        raise UsageError(
            f'{file}: this is not a docker config: an object with "auths", by registry'
        ) from None


def _entry(auths: Mapping[str, Any], host: str) -> Mapping[str, Any] | None:
    same = _DOCKER_HUB if host in _DOCKER_HUB else (host,)
    for name, entry in auths.items():
        if re.sub(r"^https?://", "", name).partition("/")[0] in same:
            return dict(entry)
    return None


def _of_entry(entry: Mapping[str, Any]) -> Credentials:
    user, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    return Credentials(user, password.rstrip("\0"), str(entry.get("identitytoken", "")))


def _of_helper(name: str, host: str) -> Credentials:
    """docker-credential-NAME get, the host on its input (docker/docker-credential-helpers)."""
    if not _HELPER.fullmatch(name):
        raise ValueError(name)
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{program}: it gives no credentials for {host}: {type(error).__name__}") from None
    if done.returncode != 0:
        return Credentials()
    plain = json.loads(done.stdout)
    if plain["Username"] == "<token>":
        return Credentials(token=str(plain["Secret"]))
    return Credentials(str(plain["Username"]), str(plain["Secret"]))
