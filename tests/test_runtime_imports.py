"""What runs in the runtime's Python has the standard library and Glowplug alone: that Python sees no other packages.

An import that fails there does not show: the script takes over, and runc starts, or checkpoints, on its own.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SHIM = Path(__file__).parent.parent / "shim"
RUNTIME = sorted(path.stem for path in (SHIM / "glowplug/runtime").glob("*.py") if path.stem != "__init__")
BEGUN_BY_PATH = ("glowplug.cuda.worker", "glowplug.cuda.rescue")


@pytest.mark.parametrize("module", RUNTIME)
def test_every_part_of_the_runtime_can_be_imported_where_there_are_no_packages(module: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(SHIM)!r}); import glowplug.runtime.{module}"
    subprocess.run([sys.executable, "-IS", "-c", program], check=True, timeout=60)


def test_whatever_the_runtime_may_import_is_the_standard_library_or_ours() -> None:
    """Imports inside functions too, which the first failure alone may reach."""
    waiting = [f"glowplug.runtime.{module}" for module in RUNTIME] + list(BEGUN_BY_PATH)
    seen: set[str] = set()
    foreign: set[tuple[str, str]] = set()
    while waiting:
        module = waiting.pop()
        if module in seen or (path := source(module)) is None:
            continue
        seen.add(module)
        for name in imported(ast.parse(path.read_text())):
            if name.partition(".")[0] == "glowplug":
                waiting.append(name)
            elif name.partition(".")[0] not in sys.stdlib_module_names:
                foreign.add((module, name))
    assert "glowplug.restore.steps" in seen
    assert foreign == set()


def source(module: str) -> Path | None:
    """Its file; None where the last word is a name inside a module."""
    path = SHIM / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules, and the names taken out of them, but not what type checkers alone read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)
