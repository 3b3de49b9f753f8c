"""One value of an OCI runtime spec each: checked for its type, in the form that the core compares.

HOT: the runtime imports this at every create. A reader takes where the value stands (for the message) and the
value, and raises BundleError. Go writes an empty field as absent or null: both read as the empty value.
"""

from glowplug import jsontext
from glowplug.errors import GlowplugError

Spec = dict[str, object]
"""A config.json as it was parsed: for what writes it again. Everything else reads its `bundle.BundleFacts`."""


class BundleError(GlowplugError):
    """A config.json that is no OCI runtime spec: the field, what was expected and what was found."""


class Mount:
    """One entry of `mounts`. `extra` is canonical JSON of what it has beyond the four fields (ID maps)."""

    __slots__ = ("destination", "extra", "options", "source", "type")

    def __init__(
        self, destination: str, source: str, type: str, options: tuple[str, ...], extra: str = ""
    ) -> None:
        self.destination = destination
        self.source = source
        self.type = type
        self.options = options
        self.extra = extra

    @property
    def is_bind(self) -> bool:
        """Whether the source is a path of the host (runc's own test: the type, or a bind option)."""
        return self.type == "bind" or "bind" in self.options or "rbind" in self.options


class Device:
    """One entry of `linux.devices`: a node that runc makes in the container's /dev.

    `rights`: canonical JSON of fileMode, uid, gid and whatever else is there. `mode`: fileMode; None where the spec
    is silent.
    """

    __slots__ = ("gid", "major", "minor", "mode", "path", "rights", "type", "uid")

    def __init__(
        self, path: str, type: str, major: int, minor: int, rights: str, mode: int | None, uid: int, gid: int
    ) -> None:
        self.path = path
        self.type = type
        self.major = major
        self.minor = minor
        self.rights = rights
        self.mode = mode
        self.uid = uid
        self.gid = gid


def wrong(where: str, wanted: str, found: object) -> BundleError:
    """The error for a value of another type. It names the type that was found, never the value."""
    kind = "nothing" if found is None else type(found).__name__
    return BundleError(f"config.json: {where}: expected {wanted}, got {kind}; is this an OCI bundle?")


def canonical(value: object) -> str:
    """JSON in one form: sorted keys, no spaces, ASCII. Raises BundleError for what JSON can't say."""
    try:
        return jsontext.dumps(value)
    except (ValueError, RecursionError):
        raise BundleError("config.json: a number is not finite, or it is nested too deeply") from None


def text(where: str, value: object) -> str:
    """Text; empty when absent."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(where, "text", value)
    return value


def flag(where: str, value: object) -> bool:
    """True or false; false when absent."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise wrong(where, "true or false", value)
    return value


def _number(where: str, value: object) -> int:
    if type(value) is not int:
        raise wrong(where, "an integer", value)
    return value


def number_or_zero(where: str, value: object) -> int:
    """An integer; 0 when absent."""
    return 0 if value is None else _number(where, value)


def number_or_none(where: str, value: object) -> int | None:
    """An integer; None when absent."""
    return None if value is None else _number(where, value)


def _items(where: str, value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(where, "a list", value)
    return value


def table(where: str, value: object) -> dict[str, object]:
    """An object; empty when absent."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(where, "an object", value)
    return value


def texts(where: str, value: object) -> tuple[str, ...]:
    """A list of text, in its order."""
    items = _items(where, value)
    if {*map(type, items)} == {str}:  # thousands of variables: no call of ours for each
        return tuple(map(str, items))
    return tuple(text(where, item) for item in items)


def sorted_numbers(where: str, value: object) -> tuple[int, ...]:
    """A set of integers, sorted."""
    return tuple(sorted({_number(where, item) for item in _items(where, value)}))


def sorted_texts(where: str, value: object) -> tuple[str, ...]:
    """A set of text, sorted."""
    return tuple(sorted(set(texts(where, value))))


def text_table(where: str, value: object) -> dict[str, str]:
    """An object whose values are text."""
    return {name: text(f"{where}.{name}", item) for name, item in table(where, value).items()}


def capabilities(where: str, value: object) -> dict[str, tuple[str, ...]]:
    """`process.capabilities`: set → its capabilities, sorted."""
    return {name: sorted_texts(f"{where}.{name}", item) for name, item in table(where, value).items()}


def rlimits(where: str, value: object) -> dict[str, tuple[int, int]]:
    """`process.rlimits`: type → soft, hard."""
    found = {}
    for item in _items(where, value):
        limit = table(where, item)
        soft, hard = number_or_zero(where, limit.get("soft")), number_or_zero(where, limit.get("hard"))
        found[text(where, limit.get("type"))] = (soft, hard)
    return found


def namespaces(where: str, value: object) -> dict[str, str]:
    """`linux.namespaces`: type → path to join, empty for a new one."""
    found = {}
    for item in _items(where, value):
        namespace = table(where, item)
        found[text(where, namespace.get("type"))] = text(where, namespace.get("path"))
    return found


def mounts(where: str, value: object) -> tuple[Mount, ...]:
    """`mounts`, in their order: a later one may cover an earlier one."""
    return tuple(_mount(where, table(where, item)) for item in _items(where, value))


def _mount(where: str, entry: dict[str, object]) -> Mount:
    destination = text(where, entry.get("destination"))
    if not destination:
        raise wrong(f"{where}.destination", "a path", None)
    extra = {name: value for name, value in entry.items() if value is not None and name not in _MOUNT_FIELDS}
    return Mount(
        _clean(destination),
        text(where, entry.get("source")),
        text(where, entry.get("type")),
        texts(where, entry.get("options")),
        canonical(extra) if extra else "",
    )


_MOUNT_FIELDS = frozenset(("destination", "source", "type", "options"))


def _clean(path: str) -> str:
    """The path without doubled or trailing slashes and "."; ".." is left as it is."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def devices(where: str, value: object) -> tuple[Device, ...]:
    """`linux.devices`."""
    return tuple(_device(where, table(where, item)) for item in _items(where, value))


def _device(where: str, entry: dict[str, object]) -> Device:
    return Device(
        text(where, entry.get("path")),
        text(where, entry.get("type")),
        number_or_zero(where, entry.get("major")),
        number_or_zero(where, entry.get("minor")),
        canonical({name: value for name, value in entry.items() if name not in _DEVICE_FIELDS}),
        number_or_none(where, entry.get("fileMode")),
        number_or_zero(where, entry.get("uid")),
        number_or_zero(where, entry.get("gid")),
    )


_DEVICE_FIELDS = frozenset(("path", "type", "major", "minor"))


def hooks(where: str, value: object) -> dict[str, tuple[dict[str, object], ...]]:
    """`hooks`: stage → its hooks, in their order; stages without any are left out."""
    stages = {stage: _items(f"{where}.{stage}", listed) for stage, listed in table(where, value).items()}
    return {
        stage: tuple(table(f"{where}.{stage}", hook) for hook in listed)
        for stage, listed in stages.items()
        if listed
    }


def seccomp(where: str, value: object) -> str | None:
    """`linux.seccomp` as canonical JSON; None when absent: then the process has no filter."""
    return canonical(table(where, value)) if value is not None else None


def mappings(where: str, value: object) -> str:
    """`linux.uidMappings` and its like as canonical JSON; empty when there are none."""
    found = _items(where, value)
    return canonical(found) if found else ""
