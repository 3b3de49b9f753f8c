"""The agent's answer to a match, read once: what is to be restored, and with what.

Used by the runtime: standard library only.
"""


class BadPlan(ValueError):
    """An answer that is no plan."""


class Plan:
    """`cache`, `checkpoint` (its id), `criu` (the program), `shm` (the pod's /dev/shm on the host), `uts` (its UTS
    namespace), `device_map` (`old=new,…`), `deadline_s`, `unread_bytes` (of the checkpoint, not in memory yet),
    `compile_cache` (for a cold start, should it come to that)."""

    __slots__ = (
        "cache",
        "checkpoint",
        "compile_cache",
        "criu",
        "deadline_s",
        "device_map",
        "shm",
        "unread_bytes",
        "uts",
    )

    def __init__(self, answer: dict[str, object]) -> None:
        """Raises BadPlan."""
        self.cache = _text(answer, "cache", needed=True)
        self.checkpoint = _text(answer, "checkpoint", needed=True)
        self.compile_cache = _text(answer, "compile_cache")
        self.criu = _text(answer, "criu")
        self.device_map = _text(answer, "device_map")
        self.shm = _text(answer, "shm")
        self.uts = _text(answer, "uts")
        self.deadline_s = _number(answer, "deadline_s")
        self.unread_bytes = int(_number(answer, "unread_bytes") or 0)

    @property
    def directory(self) -> str:
        """The checkpoint's."""
        return f"{self.cache}/checkpoints/{self.checkpoint}"


def _text(answer: dict[str, object], name: str, needed: bool = False) -> str:
    value = answer.get(name, "")
    if not isinstance(value, str) or (needed and not value):
        raise BadPlan(f"the agent's plan has no valid {name}")
    return value


def _number(answer: dict[str, object], name: str) -> float | None:
    value = answer.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadPlan(f"the agent's plan has no valid {name}")
    return value
