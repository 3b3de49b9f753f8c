"""`glowplug node install`: the handler on this node, or everything as it was."""

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from glowplug.containerd import installed
from glowplug.containerd.installed import Installed
from glowplug.errors import ContainerdError, GlowplugError, NodeError, UsageError
from glowplug.node import chain, daemon, files, found, handler, main_file, modules, plan, restart, verify
from glowplug.node.effective import Effective
from glowplug.node.files import Transaction
from glowplug.node.main_file import MainFile

PREFIX = installed.DEFAULT_PREFIX
CONFIG = "/etc/containerd/config.toml"
_SAYS_RUNC = re.compile(r"^runc version ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are on this node. `socket` None: the one in containerd's configuration. `wait_s`: for CRI."""

    config: str = CONFIG
    containerd: str = "containerd"
    socket: str | None = None
    prefix: str = PREFIX
    handler: str = "glowplug"
    restart_command: str | None = None
    no_restart: bool = False
    wait_s: float = verify.ANSWERS_WITHIN_S


@dataclass(frozen=True, slots=True)
class DesiredHandler:
    """The handler as it is to be: what it builds on, its program, and the files that make it so."""

    main: MainFile
    before: Effective
    base: handler.Base
    chain: chain.Chain
    plan: plan.Plan


def install(place: Place, runtime: str | None = None, base: str | None = None) -> list[str]:
    """Lines that say what was done. Raises UsageError, NodeError; then all is as before."""
    with locked(place.config):
        return _install(place, runtime, base)


def repair(prefix: str, name: str, wait_s: float = verify.ANSWERS_WITHIN_S) -> list[str]:
    """Install the handler again as it was installed; lines that say what was done, none where all is well.

    Where the running containerd has the handler, only the files are written: nothing is restarted. Raises UsageError
    where it is not installed (any more), NodeError.
    """
    record = _record(prefix, name)
    with locked(record.config):
        record = _record(prefix, name)  # an uninstall may just have ended
        there = found.as_installed(record)
        place = Place(
            config=there.config,
            containerd=there.program,
            socket=there.socket,
            prefix=prefix,
            handler=name,
            restart_command=record.restart_command or None,
            wait_s=wait_s,
        )
        runtime, base = record.runtime or None, record.base or None
        wanted = want(place, runtime, base)
        is_active = _running(_address(place, wanted), name) == wanted.chain.program
        if is_active and not stale(wanted):
            return []
        return _install(replace(place, no_restart=is_active), runtime, base)


def stale(wanted: DesiredHandler) -> list[str]:
    """The files that are not as they should be."""
    chained = {path: data for path, (data, _) in wanted.chain.files.items()}
    return [path for path, data in {**wanted.plan.files, **chained}.items() if files.read(path) != data]


def _record(prefix: str, name: str) -> Installed:
    record = installed.load(prefix, handler.checked_name(name))
    if record is None:
        raise UsageError(
            f"{prefix} has no handler {name} that was installed: `glowplug node install` does that"
        )
    return record


def built_on(place: Place, runtime: str | None, base: str | None) -> tuple[str | None, str | None]:
    """The program and the handler to build on: what was said, else as the handler was installed there, if it was."""
    record = installed.load(place.prefix, handler.checked_name(place.handler))
    if record is None or record.config != place.config:
        return runtime, base
    return runtime or record.runtime or None, base or record.base or None


def _install(place: Place, runtime: str | None, base: str | None) -> list[str]:
    with Transaction() as written:
        wanted = want(place, runtime, base)
        address = _address(place, wanted)
        previous = _running(address, place.handler)
        for path, (data, mode) in wanted.chain.files.items():
            written.write(path, data, mode)
        try_program(wanted.chain.program, address)
        if wanted.main.was_there and not wanted.main.has_block and wanted.main.edited in wanted.plan.files:
            written.write(wanted.main.original, wanted.main.edited_text, 0o600)
        changed = [written.write(path, data) for path, data in wanted.plan.files.items()]
        written.write(
            installed.path(place.prefix, place.handler), _as_installed(place, wanted, runtime, base), 0o600
        )
        lines = [_done(place, wanted, any(changed))]
        if not any(changed) and previous == wanted.chain.program:
            lines += ["containerd has it already, and was not restarted"]
        else:
            lines += activate(place, wanted.main, written, address, previous, wanted.chain.program)
        written.keep()
    return lines + _hints(wanted)


def _address(place: Place, wanted: DesiredHandler) -> str:
    return place.socket or wanted.main.address(wanted.before.address)


def _as_installed(place: Place, wanted: DesiredHandler, runtime: str | None, base: str | None) -> bytes:
    """For `repair`: what was requested, and the files by which it is seen that somebody wrote them again."""
    return installed.dumps(
        Installed(
            handler=place.handler,
            config=place.config,
            containerd=place.containerd,
            socket=place.socket or "",
            prefix=place.prefix,
            restart_command=place.restart_command or "",
            runtime=runtime or "",
            base=base or "",
            files=tuple(
                filter(None, dict.fromkeys([wanted.main.path, *wanted.plan.files, wanted.chain.source]))
            ),
        )
    )


def want(place: Place, runtime: str | None = None, base: str | None = None) -> DesiredHandler:
    """Reads and tries; changes nothing. Raises UsageError, NodeError."""
    name = handler.checked_name(place.handler)
    checked_prefix(place.prefix)
    program = _runtime(place, runtime)
    main = main_file.read(place.config, name, place.prefix)
    plan.require_tables(main, name, place.prefix)
    plan.require_no_other(main, name)
    before = plan.before(place.containerd, main)
    base_handler = handler.base(before, base, name)
    chained = chain.chain(place.prefix, program, name, base_handler.name, base_handler.program)
    filled = handler.values(name, chained.program, base_handler)
    planned = plan.make(place.containerd, main, before, name, filled)
    return DesiredHandler(main, before, base_handler, chained, planned)


def checked_prefix(prefix: str) -> str:
    """Absolute, as containerd runs what is there from wherever it is. Raises UsageError."""
    if not prefix.startswith("/"):
        raise UsageError(f"--prefix: expected an absolute path, got {prefix[:80]!r}")
    return prefix


@contextmanager
def locked(config: str) -> Iterator[None]:
    """One of us at a time for this configuration. Raises UsageError, NodeError."""
    if not config.startswith("/"):
        raise UsageError(f"--containerd-config: expected an absolute path, got {config!r}")
    folder = os.path.dirname(config)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise NodeError(
            f"can't work on {config}: another `glowplug node` is running, try again later"
        ) from None
    finally:
        os.close(descriptor)


def activate(
    place: Place,
    main: MainFile,
    written: Transaction,
    address: str,
    previous: str | None,
    program: str | None,
) -> list[str]:
    """Restart containerd and see that it has the handler with this program (None: no more); else all goes back.

    `previous`: the same before the change. Raises NodeError.
    """
    method = restart.method(place.restart_command, place.no_restart, main.maker.units, daemon.pid(address))
    if method.command is None:
        return [method.why]
    try:
        restart.run(method.command)
        verify.wait(address, place.handler, program, place.wait_s)
    except NodeError as error:
        raise NodeError(f"{error}; {_roll_back(place, written, method.command, address, previous)}") from None
    seen = (
        f"has the handler {place.handler}"
        if program is not None
        else f"has no handler {place.handler} any more"
    )
    return [f"containerd was restarted and {seen}"]


def _roll_back(
    place: Place, written: Transaction, command: tuple[str, ...], address: str, previous: str | None
) -> str:
    try:
        written.undo()
        restart.run(command)
        verify.wait(address, place.handler, previous, place.wait_s)
    except GlowplugError as error:
        return f"the files were put back, but then: {error}"
    return "everything was put back, and containerd runs as before"


def running(address: str, name: str) -> str | None:
    """The handler's program in the containerd that runs now; None without the handler. Raises ContainerdError."""
    return verify.program(address, name)


def _running(address: str, name: str) -> str | None:
    with suppress(ContainerdError):  # none runs yet: an image is being built, say
        return running(address, name)
    return None


def _runtime(place: Place, runtime: str | None) -> str:
    path = runtime or f"{place.prefix}/bin/glowplug-runtime"
    option = "--runtime" if runtime else "--prefix"
    if not path.startswith("/"):
        raise UsageError(f"{option}: expected an absolute path, got {path!r}")
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        raise UsageError(
            f"{option}: {path} is not a program: hack/bootstrap-node.sh puts it there, "
            "or name another with --runtime"
        )
    return path


def try_program(program: str, address: str) -> None:
    """Whether it reaches a runc and our modules, which containerd can't check before a pod starts. Raises NodeError.

    `address`: containerd's socket. Shims have the PATH of containerd, so the program is tried with that.
    """
    path = daemon.search_path(address)
    try:
        done = subprocess.run(
            [program, "--version"],
            env=os.environ if path is None else {**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NodeError(f"{program} --version failed: {type(error).__name__}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise NodeError(
            f"expected {program} to reach runc, got status {done.returncode} of --version ({said[-1]}): "
            f"is there a runc in {path or 'PATH'}?"
        )
    if _SAYS_RUNC.search(done.stdout) is None:
        said = (done.stdout.strip() or "nothing").splitlines()
        raise NodeError(
            f"expected {program} to reach runc, got {said[0][:80]!r} of --version: only runc restores what runc "
            "captures, so name a handler of runc with --base"
        )
    runtime = modules.runtime_of(program)
    if os.path.exists(runtime):  # with --runtime it may have any name, and be anywhere
        modules.check(runtime)


def _done(place: Place, wanted: DesiredHandler, changed: bool) -> str:
    verb = "put" if changed else "found"
    return (
        f"{verb} the handler {place.handler} {wanted.plan.kind}, building on {wanted.base.name}, "
        f"with the program {wanted.chain.program}"
    )


def _hints(wanted: DesiredHandler) -> list[str]:
    """What a person may not expect."""
    if wanted.main.is_template:
        maker = wanted.main.maker.name
        hints = [f"{maker} makes containerd's configuration again from this file when it starts"]
        if b"{{" in wanted.main.edited_text:
            hints += [
                "it is a template, and no TOML: NVIDIA's toolkit fails where its CONTAINERD_CONFIG names this file; "
                f"leave that to {maker}, which finds NVIDIA's runtime on its own"
            ]
        return hints
    nvidia = [
        name
        for name, table in wanted.before.handlers.items()
        if chain.NVIDIA in str((table.get("options") or {}).get("BinaryName") or "")
    ]
    if nvidia and wanted.base.name not in nvidia:
        return [
            f"there is a handler {nvidia[0]}, and this one builds on {wanted.base.name}: GPUs reach its pods by CDI "
            f"alone; to chain it behind nvidia-container-runtime, use --base {nvidia[0]}"
        ]
    if wanted.base.program and wanted.base.name not in nvidia:
        return [
            f'captures use the runc of Glowplug\'s configuration: set `runc = "{wanted.base.program}"` there'
        ]
    return []
