"""The outcome of one start, as far as its runtime knows.

HOT: standard library only.
"""


class CompileCacheUse:
    """What a cold start found of an earlier one: `files` and `bytes` that were copied, `seconds` that it took.

    `detail`: why not all of it was, "" where it was.
    """

    __slots__ = ("bytes", "detail", "files", "seconds")

    def __init__(self, files: int, bytes: int, seconds: float, detail: str = "") -> None:
        self.files = files
        self.bytes = bytes
        self.seconds = seconds
        self.detail = detail

    def to_json(self) -> dict[str, object]:
        """As an outcome's record has it."""
        found: dict[str, object] = {"files": self.files, "bytes": self.bytes, "seconds": self.seconds}
        return {**found, "detail": self.detail} if self.detail else found


class Outcome:
    """`slug`: `restored`, `cold:…` or `fallback:…` (docs/matching.md). Everything else may be missing.

    `detail`: a sentence, "" where there is nothing to say. `left_behind`: what an earlier restore in the pod left and
    could not be taken back. Of a restore: `checkpoint`, `unread_bytes` (of it, when it began), `phases` (seconds by
    step), `memory_bytes` (loaded), `total_s` (since `create` was called). Of a cold start: `compile_cache`
    (restore/give_compile_cache.py).
    """

    __slots__ = (
        "checkpoint",
        "compile_cache",
        "detail",
        "left_behind",
        "memory_bytes",
        "phases",
        "slug",
        "total_s",
        "unread_bytes",
    )

    def __init__(self, slug: str, detail: str = "") -> None:
        self.slug = slug
        self.detail = detail
        self.left_behind = ""
        self.checkpoint = ""
        self.compile_cache: CompileCacheUse | None = None
        self.unread_bytes: float | None = None
        self.phases: dict[str, float] = {}
        self.memory_bytes: int | None = None
        self.total_s: float | None = None

    def to_json(self) -> dict[str, object]:
        """The fields of its record: those that there are."""
        found: dict[str, object] = {"outcome": self.slug}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, CompileCacheUse):
                found[name] = value.to_json()
            elif name != "slug" and value not in ("", None, {}):
                found[name] = value
        return found


def from_json(fields: dict[str, object]) -> Outcome | None:
    """What to_json() wrote of a restore, from a file that may be damaged; None where it says no outcome."""
    slug = fields.get("outcome")
    if not isinstance(slug, str):
        return None
    found = Outcome(slug)
    for name in ("detail", "left_behind", "checkpoint"):
        value = fields.get(name)
        setattr(found, name, value if isinstance(value, str) else "")
    for name in ("unread_bytes", "memory_bytes", "total_s"):
        value = fields.get(name)
        setattr(found, name, value if isinstance(value, (int, float)) else None)
    phases = fields.get("phases")
    found.phases = phases if isinstance(phases, dict) else {}
    return found
