"""One capture that the agent wants made: values that travel to the process that makes it, and what comes back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from glowplug.agent.captures.running import Running
from glowplug.capture.policy import Canary, Hook
from glowplug.capture.request import Request
from glowplug.config import Config
from glowplug.engines import Step

UNDONE = 143
"""Exit status of a process that was to stop and has undone its capture."""


@dataclass(frozen=True, slots=True)
class Task:
    """`request`: names and bounds. `runc_root`: runc's --root for the container. `hook_timeout_s`: for each hook.
    `gpu`: whether it has one assigned. `end`: end the container with status 0 once it is captured. `canary`: what it is
    queried before.
    """

    config: Config
    request: Request
    running: Running
    runc_root: str
    pod_uid: str
    before: Hook | None
    after: Hook | None
    hook_timeout_s: float
    gpu: bool
    end: bool
    canary: Canary | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def of(plain: Mapping[str, Any]) -> Task:
    """What `plain` came from."""
    return Task(
        **{
            **plain,
            "config": Config(**plain["config"]),
            "request": Request(**plain["request"]),
            "running": Running(**plain["running"]),
            "before": hook(plain["before"]),
            "after": hook(plain["after"]),
            "canary": Canary(**plain["canary"]) if plain["canary"] else None,
        }
    )


def hook(plain: Mapping[str, Any] | None) -> Hook | None:
    """A hook that was written as JSON values."""
    if not plain:
        return None
    steps = tuple(Step(**{**step, "keep": tuple(step["keep"])}) for step in plain["steps"])
    return Hook(**{**plain, "command": tuple(plain["command"]), "steps": steps})
