"""Two readings of a container, field by field."""

import re
import time
from collections.abc import Callable, Iterable

from integration.differ.known import KNOWN, Known, reason

Facts = dict[str, str]
NOTHING, CLOSED = "nothing", "7"
LOOKS_EVERY_S = 0.1
THINGS = re.compile(r"(\d+)/(?:(?:fd|thread)/\d+/)?")
"""What is gone or new entirely: a process, one of its descriptors or threads."""


def differences(before: Facts, after: Facts, known: Iterable[Known] = KNOWN) -> list[str]:
    """A line for each field that differs and is not known to, one for a process or descriptor that is gone."""
    known, found = tuple(known), []
    had, has = _things(before), _things(after)
    lines = {one: f"{one} is gone: {_says(before, one)}" for one in had - has}
    lines |= {one: f"{one} is new: {_says(after, one)}" for one in has - had if "/thread/" not in one}
    not_compared = (had ^ has) | _led_outside(before, after)
    for field in sorted(before.keys() | after.keys()):
        was, now = before.get(field, NOTHING), after.get(field, NOTHING)
        if was == now or _is_of_any(field, not_compared) or reason(field, was, now, known):
            continue
        if not _was_made_or_freed(field, was, now):
            found.append(f"{field}: was {was}, is {now}")
    return sorted(line for one, line in lines.items() if not _is_of_any(one, lines.keys())) + found


def at_rest(before: Facts, read: Callable[[], Facts], within_s: float) -> list[str]:
    """The differences that stay: a program that runs has a descriptor more for a moment, and then none."""
    until = time.monotonic() + within_s
    while (found := differences(before, read())) and time.monotonic() < until:
        time.sleep(LOOKS_EVERY_S)
    return found


def steady(read: Callable[[], Facts], within_s: float) -> Facts:
    """A reading that is like the one before it, or the last."""
    until = time.monotonic() + within_s
    facts = read()
    while time.monotonic() < until:
        time.sleep(LOOKS_EVERY_S)
        facts, before = read(), facts
        if not differences(before, facts):
            break
    return facts


def _things(facts: Facts) -> set[str]:
    """A runtime makes threads when it likes; those that were there have to be there."""
    found = {one for field in facts if (one := THINGS.match(field))}
    return {one[1] for one in found} | {one[0].rstrip("/") for one in found}


def _led_outside(before: Facts, after: Facts) -> set[str]:
    """Connections whose other end is not a socket of the container: they come back closed (docs/edits.md)."""
    names = {value for field, value in before.items() if field.endswith("/name")}
    return {
        field.removesuffix("/state")
        for field, value in after.items()
        if field.endswith("/state")
        and value == CLOSED != before.get(field)
        and before.get(f"{field.removesuffix('state')}peer", NOTHING) not in names
    }


def _says(facts: Facts, thing: str) -> str:
    for name in ("target", "comm", "cmdline"):
        if f"{thing}/{name}" in facts:
            return facts[f"{thing}/{name}"]
    return ""


def _is_of_any(field: str, things: Iterable[str]) -> bool:
    parts = field.split("/")
    above = {"/".join(parts[:depth]) for depth in (1, 3) if depth < len(parts)}
    return not above.isdisjoint(things)


def _was_made_or_freed(field: str, was: str, now: str) -> bool:
    """Memory without a name comes and goes in a program that runs; what stays where it was has to be the same."""
    return "/memory/" in field and NOTHING in (was, now)
