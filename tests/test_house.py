"""The rules of the house (docs/architecture.md): sizes, floors, no entry that imports another, no import cycle."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "shim/glowplug"
MAX_LINES = 400
MAX_FUNCTION = 60

ENTRIES = {"agent", "cli", "node", "runtime"}
PIPELINES = {"capture", "explain", "outcomes", "registry", "restore"}
LEAVES = {"apiserver", "cache", "containerd", "criu", "cuda", "host", "layer", "podnet"}
CORE = {"checkpoint"}
FOR_ALL = {"host"}
"""A leaf that the other leaves may use: this node's files and system calls."""

DOORS = {
    ("cli.agent", "agent.main"),
    ("cli.node", "node"),
    ("cli.doctor", "node"),
    ("cli.doctor", "node.doctor"),
}
"""The commands that begin an entry: the only modules that import one from outside."""


def sources() -> Iterator[Path]:
    """Ours: no generated code, nothing of a virtual environment."""
    for folder in ("shim", "hack", "integration", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if "_pb2" not in path.name:
                yield path


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if "_pb2" not in path.name:
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The package's modules that it imports anywhere: within functions and for types alone, too."""
    found = set()
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "glowplug":
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one if one in modules() else str(node.module) for one in full}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules()}
    return frozenset(found - {module, "glowplug"})


def folder_of(module: str) -> str:
    """The folder; "" for a file of the top level."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def crossings() -> Iterator[tuple[str, str]]:
    """Importing and imported module, without "glowplug.", where they are of different folders."""
    for module in modules():
        for imported in imports(module):
            if folder_of(module) != folder_of(imported) and folder_of(imported):
                yield module.removeprefix("glowplug."), imported.removeprefix("glowplug.")


def is_door(module: str, imported: str) -> bool:
    return any(
        module == door and (imported == entry or imported.startswith(f"{entry}.")) for door, entry in DOORS
    )


def test_no_file_is_too_long() -> None:
    long = {name(path) for path in sources() if len(path.read_text().splitlines()) > MAX_LINES}
    assert long == set()


def test_no_function_is_too_long() -> None:
    long = {
        (name(path), node.name)
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
    }
    assert long == set()


def test_each_folder_has_its_floor() -> None:
    folders = {folder_of(module) for module in modules()} - {""}
    assert folders <= ENTRIES | PIPELINES | LEAVES | CORE


def test_who_is_imported_is_not_above() -> None:
    """Entries, pipelines, leaves, core: each imports what is below it, pipelines one another, entries none."""
    floors = [ENTRIES, PIPELINES, LEAVES, CORE]
    floor = {name: number for number, names in enumerate(floors) for name in names}
    wrong = set()
    for module, imported in crossings():
        here, there = module.split(".")[0], imported.split(".")[0]
        if here not in floor or is_door(module, imported) or (there in FOR_ALL and here in LEAVES):
            continue
        if floor[there] < floor[here] or (floor[there] == floor[here] and here not in PIPELINES):
            wrong.add((here, there))
    assert wrong == set()


def test_no_modules_import_each_other() -> None:
    assert list(cycles()) == []


def test_no_program_is_started_in_a_session_of_its_own() -> None:
    """A process group is enough to be left alone by a terminal, and to be killed as one.

    Where Linux schedules by sessions (sched_autogroup_enabled), 6.18 was seen to let a new session on a busy machine
    wait for minutes, although it was runnable.
    """
    started = re.compile(r"\b(start_new_session|setsid)\b")
    found = [name(path) for path in PACKAGE.rglob("*.py") if started.search(path.read_text())]
    assert found == []


def test_only_containerd_imports_grpc() -> None:
    """Its `__init__` has a setting that grpcio reads when it is imported."""
    users = {
        module
        for module, path in modules().items()
        if re.search(r"^(import|from) grpc\b", path.read_text(), re.MULTILINE)
    }
    assert users == {"glowplug.containerd.rpc"}


def cycles() -> Iterator[set[str]]:
    """Of modules that reach each other, each set once."""
    reached = {module: reach(module) for module in modules()}
    seen: set[str] = set()
    for module in reached:
        if module in seen or module not in reached[module]:
            continue
        together = {other for other in reached[module] if module in reached[other]}
        seen |= together
        yield together


def reach(module: str) -> set[str]:
    found: set[str] = set()
    left = [module]
    while left:
        for imported in imports(left.pop()) - found:
            found.add(imported)
            left.append(imported)
    return found


RETIRED = {
    r"\bwanted [^=\n]*, found\b": "an ordinary sentence; expected X, got Y where two values are compared",
    r"\b[Aa]part\b|_apart(?![a-z])|SetApart|APART\b": "quarantined, separately, except",
    r"\b[Tt]old\b|\b[Tt]ell(s|ers?|ing)?\b(?!\(\))|_(told|tells?|tellers?)(?![a-z])": "reported, reporter, report",
    r"\b[Uu]ntold\b": "undetermined",
    r"\b[Tt]roubled?\b": "error",
    r"\bin force\b": "active",
    r"\b[Pp]rocessor time\b": "CPU time",
    r"\bnobody[ ]else\b": "idle host; no other process, no other container",
    r"\b(stand(s|ing)?|stood) still\b": "is paused",
    r"\b[Gg]angs?\b|\bcrews?\b|\benlist(s|ed)?\b": "process group, attach",
    r"\b[Nn]ewcomers?\b|\bintake\b|\b[Ff]oresee[ns]?\b": "created containers, spool, preflight",
    r"agent[-]rubbish|not-worth-it|restored-before": "agent-bad-response, restore-slower, container-restart",
    r"\bno-ready\b|\btake_out\b|\bmove_in\b": "no-readiness-check; extract, evict, commit",
    r"fallback:(keep|go|view|mark|announce)\b": "fallback:commit, resume, image-overlay, marker, generation-file",
    r"captures[_]at_once|cache_newest|ready_deadline_s|capture_containers|free[_]floor_bytes": "docs/config.md's keys",
    r"rubbish": "garbage, invalid",
    r"\b[Mm]end(s|ed|ing)?\b|_mend(s|ed)?(?![a-z])": "fix, correct, repair",
    r"\bwhat counts\b": "is significant",
    r"\b(go(es|ing|ne)?|went) round\b": "is alive, completes a round",
    r"\bwith others at work\b|\bin vain\b|\b(has|had) its turn\b": "beside other load; without a result; runs",
    r"\b[Ss]trangers?\b|\b[Nn]othing to us\b|\bwas to be [^.\n]*and is none\b": "foreign, not ours, is not a",
    r"_in_force": "active",
    r"\b[Ww]hoever\b": "a reader, a process, the caller",
    r"\b[Bb]ecame of\b|\bbecomes of\b": "outcome, result",
    r"\b[Bb]y itself\b": "automatically, on its own",
    r"\b[Rr]ooms?\b|\bROOMS?\b": "package; space, headroom",
    r"\bwhole\b": "complete, intact, entire, full",
    r"\basked\b": "requested, queried, wanted",
    r"\brenewed\b": "volume paths; rotated, replaced",
    r"(?<!@)(?<!import )(?<!, )\bgiven\b": "assigned, passed, has; hypothesis calls a decorator so",
    r"\b[Gg]round\b(?! up)|\b[Ss]ettle[sd]?\b|\b[Dd]ismiss(es|ed)?\b": "root, decides, ends",
    r"\b[Ff]or ever\b": "forever",
    r"\bnamed\b(?! symbol)": "listed, shown, reported, identified, called; the driver says named symbol",
    r"\bheld\b": "met, compared with; paused (a tree), traced (a thread), locked (a file), open (a descriptor)",
    r"\bprocessors?\b(?!\.v1)": "core, CPU",
    r"\bmachine speed\b|\b[Oo]thers at work\b": "how fast; beside other load",
    r"\b[Hh]and(s|ed|ing)? (it )?on\b|HANDED_": "passes on",
    r"\b(stands|stood) (in|under|there|beside|above|over|on)\b(?! the way| for)": "is in",
}
"""Words that the glossary retired, and what stands for them."""
RETIRED_NAMES = re.compile(
    "apart|asked|became|crew|enlist|foreseen?|gangs?|given|ground|held|intake|mend|named|newcomers?|processors?|renewed|"
    "rooms?|rubbish|settle[ds]?|strangers?|strange|tell|tellers?|telling|tells|told|trouble|vain|whoever|whole"
)
"""Parts of identifiers: requests, resources, locked, names, space and so on instead."""
SPEAK_OF_THEM = {"CHANGELOG.md", "tests/test_house.py"}


def texts() -> Iterator[Path]:
    for pattern in ("*.md", "*.toml", ".*.yaml"):
        yield from ROOT.glob(pattern)
    for folder in ("shim", "hack", "integration", "tests", "docs", "runtime_config"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".png", ".svg") and "_pb2" not in path.name:
                yield path


def test_no_retired_word_is_used() -> None:
    pattern = re.compile("|".join(f"(?:{one})" for one in RETIRED), re.IGNORECASE)
    used = []
    for path in texts():
        if name(path) in SPEAK_OF_THEM or "egg-info" in name(path):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if (found := pattern.search(line)) is not None:
                used.append(f"{name(path)}:{number}: {found[0]}")
    assert used == []


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """What is defined: modules, classes, functions, arguments, variables and attributes."""
    yield 1, path.stem
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_no_identifier_has_a_retired_word() -> None:
    package = set(modules().values())
    used = [
        f"{name(path)}:{line}: {identifier}"
        for path in sources()
        if name(path) != "shim/glowplug/cli/warm.py"  # named like its command
        for line, identifier in identifiers(path)
        for part in parts(identifier)
        if RETIRED_NAMES.fullmatch(part) or (part == "warm" and path in package)
    ]
    assert used == []


def parts(identifier: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*", identifier)}
