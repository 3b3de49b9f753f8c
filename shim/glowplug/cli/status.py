"""`glowplug status`: whether this node can restore, and what its cache holds."""

import shutil
import socket
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass

import click

from glowplug import listen_address
from glowplug.cli import history, options, resolve_id, screen
from glowplug.cli.root import require_root
from glowplug.config import Config, min_free
from glowplug.errors import ContainerdError, CriuError
from glowplug.host import facts
from glowplug.outcomes import under_way
from glowplug.outcomes.record import kind, number, text

DAY_S = 86_400.0
ANSWERS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Status:
    """Versions are None where the program is missing; then `errors` says what is wrong. Sizes in bytes.

    `driver`: NVIDIA's, "" without one. `metrics`: where they are served, "" for nowhere. `under_way`, and of the last
    day `starts` and `captures`: numbers by kind.
    """

    agent: str
    containerd: str | None
    criu: str | None
    runc: str | None
    driver: str | None
    metrics: str
    cache: str
    checkpoints: int
    quarantined: int
    pinned: int
    bytes: int
    limit_bytes: int
    free_bytes: int
    floor_bytes: int
    under_way: dict[str, int]
    starts: dict[str, int]
    captures: dict[str, int]
    errors: list[str]


@click.command()
@options.as_json
@options.config
def status(as_json: bool, path: str | None) -> None:
    """Show the agent, programs, cache, and the last day's starts. The exit status is 1 if something is wrong."""
    from glowplug.config import load

    require_root("the agent talks to root alone")
    found = read(load(path))
    if as_json:
        screen.as_json(asdict(found))
    else:
        _show(found)
    if found.errors:
        raise SystemExit(1)


def read(config: Config) -> Status:
    """As it is now. Raises CacheError."""
    errors: list[str] = []
    store = resolve_id.store(config)
    rows = store.rows()
    usage = shutil.disk_usage(store.root)
    running = Counter(one.kind for one in under_way.read())
    today = [one for one in history.records(config.cache) if (number(one, "time") or 0) > time.time() - DAY_S]
    kinds = Counter(kind(record)[0] for record in today)
    results = Counter(text(record, "result") for record in today if record.get("event") == "capture")
    return Status(
        agent=agent(errors),
        containerd=_containerd(config, errors),
        criu=_criu(config, errors),
        runc=_runc(config, errors),
        driver=facts.read(None).driver,
        metrics=_metrics(config, errors),
        cache=store.root,
        checkpoints=len(rows),
        quarantined=sum(row.quarantine is not None for row in rows),
        pinned=sum(row.pinned for row in rows),
        bytes=sum(row.bytes for row in rows),
        limit_bytes=config.cache_limit_bytes,
        free_bytes=usage.free,
        floor_bytes=min_free(config),
        under_way={name: running[name] for name in (under_way.RESTORE, under_way.CAPTURE)},
        starts={name: kinds[name] for name in ("restored", "cold", "fallback")},
        captures={name: results[name] for name in ("captured", "refused", "failed")},
        errors=errors,
    )


def agent(errors: list[str]) -> str:
    """Is "answers", or what is wrong with it: then every start is cold."""
    from glowplug.outcomes import ask

    try:
        ask.ask({"op": "history", "container": ""}, ANSWERS_WITHIN_S)
    except ask.NoAnswer as error:
        errors.append(f"the agent does not answer, so every start is cold: {error.detail}")
        return error.slug
    return "answers"


def _metrics(config: Config, errors: list[str]) -> str:
    if not config.metrics_listen:
        return ""

    try:
        socket.create_connection(listen_address.parse(config.metrics_listen), ANSWERS_WITHIN_S).close()
    except OSError as error:
        errors.append(f"nobody serves metrics on {config.metrics_listen}: {error.strerror or error}")
    return f"http://{config.metrics_listen}/metrics"


def _containerd(config: Config, errors: list[str]) -> str | None:
    from glowplug.containerd.client import Containerd

    try:
        with Containerd(config.containerd_socket, config.containerd_namespace) as containerd:
            return containerd.version()
    except ContainerdError as error:
        errors.append(str(error))
        return None


def _criu(config: Config, errors: list[str]) -> str | None:
    from glowplug.criu import program

    try:
        found = program.version(config.criu)
    except CriuError as error:
        errors.append(str(error))
        return None
    version = ".".join(map(str, found))
    if found < program.MINIMUM:
        errors.append(f"expected CRIU {'.'.join(map(str, program.MINIMUM))} or newer, got {version}")
    return version


def _runc(config: Config, errors: list[str]) -> str | None:
    """The third word of "runc version 1.1.5"."""
    try:
        said = subprocess.run(
            [config.runc, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            errors="replace",
        ).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        errors.append(
            f"{config.runc} --version failed: {type(error).__name__}; set `runc` in the configuration"
        )
        return None
    return said[2] if said[:2] == ["runc", "version"] and len(said) > 2 else "of unknown version"


def _show(found: Status) -> None:
    limit, floor = screen.size(found.limit_bytes), screen.size(found.floor_bytes)
    lines = (
        ("agent", found.agent),
        ("containerd", found.containerd or "missing"),
        ("CRIU", found.criu or "missing"),
        ("runc", found.runc or "missing"),
        ("NVIDIA driver", found.driver or ("none" if found.driver == "" else "unknown")),
        ("metrics", found.metrics or "off"),
        ("cache", found.cache),
        ("checkpoints", f"{found.checkpoints} ({found.quarantined} quarantined, {found.pinned} pinned)"),
        ("size", f"{screen.size(found.bytes)} of {limit}"),
        ("free", f"{screen.size(found.free_bytes)}; {floor} are left free"),
        ("under way", _counts({f"{name}s": count for name, count in found.under_way.items()})),
        ("last 24 hours", f"{_counts(found.starts)}; captures: {_counts(found.captures)}"),
    )
    for name, value in lines:
        screen.line(f"{name + ':':15} {value}")
    for errors in found.errors:
        screen.line(f"error: {errors}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
