"""`glowplug node uninstall`: restores what was there before, byte for byte; see `purge.py` for the rest."""

import os
from contextlib import suppress

from glowplug.containerd import installed
from glowplug.errors import ContainerdError, NodeError
from glowplug.node import block, effective, files, main_file, plan, verify
from glowplug.node.effective import Effective
from glowplug.node.files import Transaction
from glowplug.node.install import Place, activate, locked, running
from glowplug.node.main_file import MainFile


def uninstall(place: Place, *, force: bool) -> tuple[list[str], bool]:
    """Lines that say what was done, and whether no pod of the handler runs. Raises UsageError, NodeError; then all
    is as before.

    `force`: although pods of the handler run. They run on, and end well: the runtime stays where it is.
    """
    with locked(place.config), Transaction() as written:
        main = main_file.read(place.config, place.handler, place.prefix)
        plan.require_tables(main, place.handler, place.prefix)
        was = _before(place, main)
        address = place.socket or main.address(was.address if was else effective.ADDRESS)
        pods = _pods(address, place.handler, force)
        previous = _previous(address, place.handler)
        written.remove(
            installed.path(place.prefix, place.handler)
        )  # first: the agent repairs what has a record
        taken = _remove(place, main, written)
        if taken and not main.is_template:
            _try(place, was or plan.before(place.containerd, main))
        lines = [f"took the handler {place.handler} out of {path}" for path in taken]
        if taken:
            lines += activate(place, main, written, address, previous, None)
        if not pods:
            lines += [f"removed {path}" for path in _chain_files(place) if written.remove(path)]
        written.keep()
    _remove_empty(place, main, taken)
    return lines or [f"nothing to take out: {place.config} has no handler {place.handler} of ours"], not pods


def _before(place: Place, main: MainFile) -> Effective | None:
    """The active configuration without us; None where no handler can be in it. Raises NodeError."""
    try:
        return plan.before(place.containerd, main)
    except main_file.NoHandlerIn:
        return None


def _pods(address: str, name: str, force: bool) -> list[str]:
    """Pods of the handler that run. Raises NodeError unless forced."""
    from glowplug.containerd import rpc  # brings grpcio

    try:
        found = verify.pods(address, name)
    except ContainerdError as error:
        if rpc.status_of(error) is rpc.StatusCode.UNIMPLEMENTED:
            return []  # it serves no CRI: no kubelet's pods
        if force:
            return ["unknown"]
        raise NodeError(
            f"can't know whether pods of the handler {name} run: {error}: nothing was changed; "
            "--force takes it out all the same"
        ) from None
    if found and not force:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        raise NodeError(
            f"{len(found)} pods of the handler {name} still run ({shown}): nothing was changed; "
            "drain the node, or use --force, which leaves them running"
        )
    return found


def _previous(address: str, name: str) -> str | None:
    with suppress(ContainerdError):  # forced, with no containerd running
        return running(address, name)
    return None


def _remove(place: Place, main: MainFile, written: Transaction) -> list[str]:
    """Paths of the files that had it."""
    taken = []
    drop_in, _ = plan.drop_in_path(main, place.handler)
    for path in dict.fromkeys([drop_in, f"{os.path.dirname(main.path)}/conf.d/{place.handler}.toml"]):
        text = files.read(path)
        if text is None or not block.present(text, place.handler):
            continue
        rest = block.without(text, place.handler)
        written.write(path, rest) if rest else written.remove(path)
        taken.append(path)
    if main.has_block:
        if os.path.exists(main.original) or not _made_by_us(main):
            written.write(main.edited, main.edited_text)
        else:
            written.remove(main.edited)
        taken.append(main.edited)
    for path, text in main.strays.items():
        written.write(path, text)
        taken.append(path)
    if main.is_stale:
        written.write(main.path, main.text)
        taken.append(main.path)
    for path in (main.edited, main.path):
        written.remove(f"{path}{main_file.ORIGINAL}")
    return taken


def _try(place: Place, was: Effective) -> None:
    """Whether containerd can read what is left, and finds no handler of ours in it. Raises NodeError."""
    main = main_file.read(place.config, place.handler, place.prefix)
    found = effective.read(place.containerd, main.trial(files.read(place.config) or b""), place.config)
    if place.handler in found.handlers:
        raise NodeError(
            f"the handler {place.handler} comes from another file too that {place.config} imports: nothing was "
            "changed; take it out there first"
        )
    changed = effective.differences(was, found, place.handler)
    if changed:
        raise NodeError(
            f"without the handler, {', '.join(changed[:4])} would change too: nothing was done; take it out by hand"
        )


def _made_by_us(main: MainFile) -> bool:
    """There was no file before us: no original is kept, and nothing is in it but what we began it with."""
    return main.edited_text in (b"", main.begin)


def _chain_files(place: Place) -> list[str]:
    return [
        f"{place.prefix}/bin/glowplug-runtime-{place.handler}",
        f"{place.prefix}/etc/{place.handler}/nvidia-container-runtime/config.toml",
    ]


def _remove_empty(place: Place, main: MainFile, taken: list[str]) -> None:
    """Directories that we made, where nothing else has come into them."""
    beside = f"{os.path.dirname(main.path)}/conf.d"
    for path in (
        *(
            [os.path.dirname(main.edited)] if main.merged is not None else []
        ),  # k0s makes it where it is missing
        *([beside] if main.has_block and f"{beside}/{place.handler}.toml" in taken else []),
        f"{place.prefix}/etc/{place.handler}/nvidia-container-runtime",
        f"{place.prefix}/etc/{place.handler}",
    ):
        with suppress(OSError):
            os.rmdir(path)
