"""What is written down of an attempt as it begins: all that another process needs in order to undo it.

Used by the runtime: standard library only.
"""


class Journal:
    """One restore of one container; texts are "" where they are not known.

    `id`: the container's. `root`: runc's --root. `script`: pid and start of the process that called us, which will run
    `runc create` if we don't restore. `compile_cache`: what that cold start is to find (give_compile_cache.py).
    `start`: the fields that every outcome of this start has. `trial`: no container waits for it: a fresh checkpoint is
    tried in `bundle`, a place of its own that goes with it (restore/trial).
    """

    __slots__ = (
        "bundle",
        "cache",
        "cgroups_path",
        "checkpoint",
        "compile_cache",
        "id",
        "pid_file",
        "root",
        "rootfs",
        "runc",
        "sandbox",
        "script",
        "start",
        "systemd_cgroup",
        "trial",
    )

    def __init__(
        self,
        id: str,
        *,
        bundle: str = "",
        cache: str = "",
        cgroups_path: str = "",
        checkpoint: str = "",
        compile_cache: str = "",
        pid_file: str = "",
        root: str = "",
        rootfs: str = "",
        runc: str = "",
        sandbox: str = "",
        script: "tuple[int, int] | None" = None,
        start: "dict[str, object] | None" = None,
        systemd_cgroup: bool = False,
        trial: bool = False,
    ) -> None:
        self.id = id
        self.bundle = bundle
        self.cache = cache
        self.cgroups_path = cgroups_path
        self.checkpoint = checkpoint
        self.compile_cache = compile_cache
        self.pid_file = pid_file
        self.root = root
        self.rootfs = rootfs
        self.runc = runc
        self.sandbox = sandbox
        self.script = script
        self.start = start or {}
        self.systemd_cgroup = systemd_cgroup
        self.trial = trial

    def to_json(self) -> "dict[str, object]":
        """As it is written."""
        return {name: getattr(self, name) for name in self.__slots__}


_NO_TEXT = ("id", "script", "start", "systemd_cgroup", "trial")


def from_json(fields: "dict[str, object]") -> Journal:
    """What to_json() gave, from a file that may be damaged. Raises TypeError, ValueError."""
    script, start = fields.get("script"), fields.get("start")
    numbers = [int(number) for number in script] if isinstance(script, list) else []
    return Journal(
        _text(fields, "id"),
        **{name: _text(fields, name) for name in Journal.__slots__ if name not in _NO_TEXT},
        script=(numbers[0], numbers[1]) if len(numbers) == 2 else None,
        start=start if isinstance(start, dict) else None,
        systemd_cgroup=fields.get("systemd_cgroup") is True,
        trial=fields.get("trial") is True,
    )


def _text(fields: "dict[str, object]", name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    return value
