"""The table `[presets]` of the node's configuration: engines besides those that Glowplug knows (engines.py).

    [presets.NAME]
    port = 8080
    ready = "/health"
    [presets.NAME.keep]             # and reload, for pods with glowplug.dev/weights: reload
    sleep = [{ method = "POST", path = "/sleep" }]
    wake = [{ method = "POST", path = "/wake" }, { method = "GET", path = "/awake", expected = { awake = true } }]

A preset by the name of one that Glowplug knows takes its place. What a configured preset says is part of the workload
key of the pods that name it: a process that was put to sleep by one list of requests is not woken by another.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.engines import KEEP, PRESETS, RELOAD, Preset, Step

EXTRA = "preset"
"""Its name among the key's extras."""

METHODS = ("GET", "POST", "PUT")
WAYS = (KEEP, RELOAD)
LONGEST_BODY = 16384
MOST_STEPS = 32
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_PATH = re.compile(r"/[!-~]{0,1000}")
_MEMBER = re.compile(r'"\$([A-Za-z_][A-Za-z0-9_]*)"')
_STEP_KEYS = tuple(one.name for one in fields(Step))


def known(configured: Mapping[str, Any]) -> Mapping[str, Mapping[str, Preset]]:
    """All presets. `configured`: the table `[presets]`, without problems."""
    return {**PRESETS, **{name: _ways(table) for name, table in configured.items()}}


def extras(configured: Mapping[str, Any], facts: BundleFacts) -> dict[str, str | None]:
    """What the key of a pod says of the configured preset that it names; nothing of another pod's."""
    annotation = f"{OWN_ANNOTATIONS}engine"
    values = facts.annotations
    name = (
        values.get(f"{annotation}.{facts.container_name}", values.get(annotation, ""))
        .strip()
        .partition(":")[0]
    )
    if name not in configured:
        return {}
    plain = {way: asdict(preset) for way, preset in _ways(configured[name]).items()}
    text = json.dumps(plain, sort_keys=True)
    return {EXTRA: hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def _ways(table: Mapping[str, Any]) -> dict[str, Preset]:
    return {
        way: Preset(table["port"], table["ready"], _steps(table[way]["sleep"]), _steps(table[way]["wake"]))
        for way in WAYS
        if way in table
    }


def _steps(listed: list[Mapping[str, Any]]) -> tuple[Step, ...]:
    return tuple(Step(**{**one, "keep": tuple(one.get("keep", ()))}) for one in listed)


def problems(plain: object) -> Iterator[str]:
    """One line for each thing that is wrong with the table."""
    if not isinstance(plain, Mapping):
        yield f"presets: expected a table of presets, got {plain!r}"
        return
    for name, table in plain.items():
        if not _NAME.fullmatch(name):
            yield f"presets.{name}: a preset's name has lower-case letters, digits and hyphens, 40 at most"
        elif not isinstance(table, Mapping):
            yield f"presets.{name}: expected a table, got {table!r}"
        else:
            yield from _of_preset(f"presets.{name}", table)


def _of_preset(where: str, table: Mapping[str, object]) -> Iterator[str]:
    for key in table.keys() - {"port", "ready", *WAYS}:
        yield f"{where}.{key}: no such key; there are: port, ready, {', '.join(WAYS)}"
    port, ready = table.get("port"), table.get("ready")
    if type(port) is not int or not 0 < port < 1 << 16:
        yield f"{where}.port: expected a port from 1 to 65535, got {_shown(port)}"
    if not isinstance(ready, str) or not _PATH.fullmatch(ready):
        form = "the path that answers once the server serves, such as /health"
        yield f"{where}.ready: expected {form}, got {_shown(ready)}"
    if not any(way in table for way in WAYS):
        yield f"{where}: it has neither of the tables {' and '.join(WAYS)}, so no request"
    for way in WAYS:
        if way in table:
            yield from _of_way(f"{where}.{way}", table[way])


def _of_way(where: str, way: object) -> Iterator[str]:
    if not isinstance(way, Mapping):
        yield f"{where}: expected a table with sleep and wake, got {way!r}"
        return
    for key in way.keys() - {"sleep", "wake"}:
        yield f"{where}.{key}: no such key; there are: sleep, wake"
    for name in ("sleep", "wake"):
        steps = way.get(name)
        if not isinstance(steps, list) or not 0 < len(steps) <= MOST_STEPS:
            yield f"{where}.{name}: expected a list of 1 to {MOST_STEPS} requests, got {_shown(steps)}"
            continue
        kept: set[str] = set()
        for at, step in enumerate(steps):
            yield from _of_step(f"{where}.{name}[{at}]", step, kept)


def _of_step(where: str, step: object, kept: set[str]) -> Iterator[str]:
    """`kept`: members of earlier answers, to which its own are added."""
    if not isinstance(step, Mapping):
        yield f'{where}: expected a request, such as {{ method = "POST", path = "/sleep" }}, got {step!r}'
        return
    for key in step.keys() - set(_STEP_KEYS):
        yield f"{where}.{key}: no such key; there are: {', '.join(_STEP_KEYS)}"
    method, path, body = step.get("method"), step.get("path"), step.get("body", "")
    if method not in METHODS:
        yield f"{where}.method: expected one of {', '.join(METHODS)}, got {_shown(method)}"
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        yield f"{where}.path: expected a path of printable ASCII that begins with /, got {_shown(path)}"
    if not _is_body(body):
        yield f"{where}.body: expected JSON in a string of at most {LONGEST_BODY} characters, got {_shown(body)}"
    else:
        for member in _MEMBER.findall(body):
            if member not in kept:
                yield f'{where}.body: "${member}" is in no answer before it: say keep = ["{member}"] there'
    expected, keep = step.get("expected", {}), step.get("keep", [])
    if not isinstance(expected, Mapping) or not all(_is_plain(value) for value in expected.values()):
        yield f"{where}.expected: expected members of the answer with their values, got {_shown(expected)}"
    if not isinstance(keep, list) or not all(isinstance(one, str) and one.isidentifier() for one in keep):
        yield f"{where}.keep: expected a list of the answer's members, got {_shown(keep)}"
    else:
        kept.update(keep)


def _is_body(body: object) -> bool:
    if not isinstance(body, str) or len(body) > LONGEST_BODY:
        return False
    try:
        if body:
            json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _is_plain(value: object) -> bool:
    """What JSON and TOML both have, and an answer can be compared with."""
    return isinstance(value, str | bool | int | float)


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.100}"
