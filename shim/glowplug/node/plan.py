"""Which bytes go where: the edit of one containerd's configuration, tried with containerd before it is made."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from glowplug.errors import NodeError
from glowplug.node import block, effective, handler, imports, owned
from glowplug.node.effective import Effective
from glowplug.node.files import read
from glowplug.node.main_file import MainFile, cri_is_off, missing_version

_TRIAL = ".glowplug-check"


@dataclass(frozen=True, slots=True)
class Plan:
    """`files`: what is to be written, by path. `kind`: in words, where the handler is put."""

    files: dict[str, bytes]
    kind: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plan, and how containerd can try it: a main file, and files that it imports."""

    plan: Plan
    main: bytes
    beside: dict[str, bytes]


def before(containerd: str, main: MainFile) -> Effective:
    """The active configuration without us. Raises NodeError: containerd can't read it, or its CRI is off."""
    text = block.at_top(main.text, "version = 2", "version") if missing_version(main) else main.text
    found = effective.read(containerd, main.trial(text), main.path)
    if not found.has_cri:
        raise cri_is_off(main.path)
    return found


def make(containerd: str, main: MainFile, was: Effective, name: str, filled: dict[str, str]) -> Plan:
    """Raises NodeError: with every way tried, something besides the handler would change."""
    draft = _draft(main, was, name, filled, "")
    found = effective.read(containerd, draft.main, main.path, draft.beside)
    lost = sorted(set(was.handlers) - set(found.handlers) - {name})
    if lost:
        # containerd 1.6 and 1.7 forget their own `runc` as soon as a file declares a handler.
        more = "".join(handler.declared(_version(main, was), other, was.handlers[other]) for other in lost)
        draft = _draft(main, was, name, filled, more)
        found = effective.read(containerd, draft.main, main.path, draft.beside)
    if name not in found.handlers:
        raise NodeError(
            f"containerd would not see the handler {name}: a file that {main.path} imports replaces the section; "
            "nothing was changed"
        )
    changed = effective.differences(was, found, name)
    if changed:
        raise NodeError(
            f"the edit would change {', '.join(changed[:4])}, too, not only the handler: nothing was changed"
        )
    return draft.plan


def require_tables(main: MainFile, name: str, prefix: str) -> None:
    """Raises NodeError where our handler stays in the file, as it is there in another form than tables."""
    for path, program in _remaining(main, name):
        if owned.is_program_of(program, prefix):
            raise NodeError(
                f"the handler {name} in {path} is Glowplug's, but is written inline or with dotted keys, which is not "
                "edited: take these lines out by hand, then run this again"
            )


def require_no_other(main: MainFile, name: str) -> None:
    """Raises NodeError where somebody else's handler has that name."""
    for path, _ in _remaining(main, name):
        raise NodeError(
            f"there is a handler {name} in {path} whose program is not in our prefix: take it out by "
            "hand, name its --prefix, or choose --handler"
        )


def _remaining(main: MainFile, name: str) -> list[tuple[str, str]]:
    """Files that have the handler when ours is out, and its program there."""
    texts = {main.path: main.text, main.edited: main.edited_text}
    found = [(path, owned.program(text, name)) for path, text in texts.items()]
    return [(path, program) for path, program in found if program is not None]


def drop_in_path(main: MainFile, name: str) -> tuple[str, bool]:
    """Where the drop-in for containerd 2.x lies, and whether the main file imports it already."""
    folder = imports.directory(main.imports or [], main.path)
    return f"{folder or os.path.dirname(main.path) + '/conf.d'}/{name}.toml", folder is not None


def _draft(main: MainFile, was: Effective, name: str, filled: dict[str, str], more: str) -> _Draft:
    first = f"version = {2 if was.version <= 2 else 3}\n" if missing_version(main) else ""
    path, imported = drop_in_path(main, name)
    # Version 2 is edited in place under containerd 2.x too: an import of version 3 would mix with what that migrates
    # (`bin_dir` and `bin_dirs`), and under 1.7 an import would replace the CRI section.
    if _version(main, was) <= 2 or (main.is_template and not imported):
        tables = handler.tables(_version(main, was), filled) + more

        def with_tables(text: bytes) -> bytes:
            text = block.at(text, len(text), tables, name)
            return block.at_top(text, first, name) if first else text

        return _edit(main, with_tables)
    content = _drop_in(path, name, handler.drop_in(filled))
    listed = main.imports

    def importing(what: str) -> bytes:
        return imports.added(main.text, listed, what, name, first)

    trial = importing(path + _TRIAL)
    # By a pattern, and never by its name: containerd does not start where a listed file is missing.
    pattern = f"{path.removesuffix('.toml')}*.toml"
    files = {path: content, **main.strays}
    if not imported:
        files[main.path] = importing(pattern)
    elif main.has_block:
        files[main.path] = main.text
    return _Draft(Plan(files, f"in {path}"), main.trial(trial), {path + _TRIAL: content})


def _edit(main: MainFile, edit: Callable[[bytes], bytes]) -> _Draft:
    files = {main.edited: edit(main.edited_text), **main.strays}
    kind = f"in {main.edited}"
    if main.merged is not None:
        trial = main.merged + _TRIAL
        content = edit(main.merged_text)
        return _Draft(Plan(files, kind), _importing(main, main.merged, trial), {trial: content})
    if main.is_template and main.is_plain:
        return _Draft(Plan(files, kind), edit(main.edited_text), {})
    if main.edited == main.path or main.is_template:
        return _Draft(Plan(files, kind), main.trial(edit(main.text)), {})
    trial = main.edited + _TRIAL
    if main.is_stale:
        files[main.path] = main.text
    return _Draft(Plan(files, kind), _importing(main, main.edited, trial), {trial: edit(main.edited_text)})


def _importing(main: MainFile, imported: str, trial: str) -> bytes:
    """The main file with another file in place of one that it imports, and without an import of itself."""
    real = os.path.realpath(main.path)
    listed = [
        path for path in imports.resolved(main.imports or [], main.path) if os.path.realpath(path) != real
    ]
    return imports.replaced(main.text, [trial if path == imported else path for path in listed])


def _drop_in(path: str, name: str, text: str) -> bytes:
    there = read(path)
    if there is not None and not block.present(there, name):
        raise NodeError(f"can't write {path}: a file that is not ours is there: rename it")
    return block.at_top(b"", text, name)


def _version(main: MainFile, was: Effective) -> int:
    """In which the main file names plugins."""
    return int(main.keys().get("version", 2 if was.version <= 2 else 3))
