"""Two workload keys side by side: every part that differs, by name, with what may be shown of it.

Values that are kept as hashes are reported as "the captured value" and "another value"; names are shown.
"""

from collections.abc import Callable, Iterator, Mapping

from glowplug.checkpoint.key import PARTS, Parts, Value, WorkloadKey
from glowplug.checkpoint.reason import UNKNOWN, Reason

_ABSENT = "nothing"
_HASHED = ("args", "env", "extras", "hooks", "settings", "other")


def differences(captured: Parts, wanted: WorkloadKey) -> list[Reason]:
    """Why the captured key is not the expected one, in the order of `key.PARTS`.

    Empty only when both are equal and the expected key is complete. Hashes made with another salt say nothing
    about the values behind them: then the salt is the reason, and parts that are hashes are left out. Parts made by
    rules of another version say nothing at all: then the version is the reason (rule 2.1).
    """
    if captured.get("rules") != wanted.parts.get("rules"):
        return [_rules(captured.get("rules"), wanted.parts.get("rules"))]
    mute = _HASHED if captured.get("salt") != wanted.parts.get("salt") else ()
    reasons = [
        Reason(part, "a known value", f"{UNKNOWN}: {what}", "unknown-fact") for part, what in _unknown(wanted)
    ]
    for name in [*PARTS, *sorted((captured.keys() | wanted.parts.keys()) - PARTS.keys())]:
        needs, has = captured.get(name), wanted.parts.get(name)
        if name not in captured or name not in wanted.parts:
            known = [UNKNOWN if name not in side else "known" for side in (captured, wanted.parts)]
            reasons.append(Reason(name, known[0], known[1], _slug(name)))
        elif name not in mute and (needs != has or type(needs) is not type(has)):
            reasons += _DESCRIBERS.get(name, _describe_plain)(name, needs, has)
    return reasons


def _rules(captured: Value, wanted: Value) -> Reason:
    return Reason(
        "rules", f"version {short(captured)} of the matching rules", f"version {short(wanted)}", "rules"
    )


def _unknown(wanted: WorkloadKey) -> Iterator[tuple[str, str]]:
    yield from wanted.unknown.items()
    if not wanted.digest and not wanted.unknown:
        yield "workload key", "a part of it"


def _slug(part: str) -> str:
    return part.replace("_", "-")


def _describe_plain(part: str, needs: Value, has: Value) -> list[Reason]:
    return [Reason(part.replace("_", " "), short(needs), short(has), _slug(part))]


def _describe_hidden(part: str, needs: Value, has: Value) -> list[Reason]:
    return [Reason(part, "the captured one", "another", _slug(part))]


def _describe_args(part: str, needs: Value, has: Value) -> list[Reason]:
    if not isinstance(needs, list) or not isinstance(has, list) or len(needs) != len(has):
        return [Reason(part, _count(needs), _count(has), part)]
    return [
        Reason(f"args[{index}]", _hidden(one, "the captured value"), _hidden(other, "another value"), part)
        for index, (one, other) in enumerate(zip(needs, has, strict=True))
        if one != other
    ]


def _count(value: Value) -> str:
    return f"{len(value)} of them" if isinstance(value, list) else UNKNOWN


def _describe_by_name(part: str, needs: Value, has: Value) -> list[Reason]:
    """Tables whose values are hashes: which names are missing, new or changed."""
    if not isinstance(needs, Mapping) or not isinstance(has, Mapping):
        return _describe_hidden(part, needs, has)
    return [
        Reason(
            f"{part} {name}",
            _hidden(needs[name], "the captured value") if name in needs else _ABSENT,
            _hidden(has[name], "another value") if name in has else _ABSENT,
            _slug(part),
        )
        for name in sorted(needs.keys() | has.keys())
        if name not in needs or name not in has or needs[name] != has[name]
    ]


def _describe_shown(part: str, needs: Value, has: Value) -> list[Reason]:
    """Tables of public facts: both values are shown."""
    if not isinstance(needs, Mapping) or not isinstance(has, Mapping):
        return _describe_plain(part, needs, has)
    return [
        Reason(f"{part} {name}", short(needs.get(name)), short(has.get(name)), _slug(part))
        for name in sorted(needs.keys() | has.keys())
        if needs.get(name) != has.get(name) or (name in needs) != (name in has)
    ]


def _describe_mounts(part: str, needs: Value, has: Value) -> list[Reason]:
    if not isinstance(needs, Mapping) or not isinstance(has, Mapping):
        return _describe_hidden(part, needs, has)
    return [
        _describe_mount(place, _mount(needs.get(place)), _mount(has.get(place)))
        for place in sorted(needs.keys() | has.keys())
        if needs.get(place) != has.get(place)
    ]


def _describe_mount(place: str, needs: str, has: str) -> Reason:
    if needs == has:
        needs, has = f"{needs}, as captured", f"{has}, another one"
    return Reason(f"mount {place}", needs, has, "mounts")


def _mount(value: Value) -> str:
    if not isinstance(value, Mapping):
        return _ABSENT
    shown = value.get("value") if value.get("how") in _SHOWN_MOUNTS else value.get("how")
    what = value.get("name") or shown
    options = value.get("options")
    how = ",".join(map(str, options)) if isinstance(options, list) else UNKNOWN
    return f"{value.get('kind')} {what} ({how})"


_SHOWN_MOUNTS = ("source", "image", "kernel")


def _hidden(value: Value, instead: str) -> str:
    """Placeholders such as <pod-name> are shown; hashes are not."""
    return value if isinstance(value, str) and value.startswith("<") else instead


def short(value: Value) -> str:
    """A public fact of a key on one line."""
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {short(item)}" for name, item in sorted(value.items()))
    return str(value)


_DESCRIBERS: dict[str, Callable[[str, Value, Value], list[Reason]]] = {
    "args": _describe_args,
    "capabilities": _describe_shown,
    "devices": _describe_shown,
    "env": _describe_by_name,
    "extras": _describe_by_name,
    "hooks": _describe_by_name,
    "mounts": _describe_mounts,
    "namespaces": _describe_shown,
    "other": _describe_by_name,
    "rlimits": _describe_shown,
    "rootfs": _describe_shown,
    "salt": _describe_hidden,
    "seccomp": _describe_hidden,
    "settings": _describe_by_name,
    "sysctl": _describe_shown,
    "user": _describe_shown,
}
