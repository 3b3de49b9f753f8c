"""The zoo's images on the node, and a table at the end of a run."""

from collections.abc import Callable, Iterator

import pytest

from integration.node import Node
from integration.several_users import captured
from integration.zoo import image
from integration.zoo.all import packages
from integration.zoo.program import Program
from integration.zoo.report import Row, table

ROWS = pytest.StashKey[list[Row]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Programs that take long only where they are asked for."""
    if config.getoption("--zoo"):
        return
    slow = [item for item in items if _is_slow(item)]
    items[:] = [item for item in items if item not in slow]
    if slow:
        config.hook.pytest_deselected(items=slow)


def _is_slow(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    program = callspec.params.get("program") if callspec else None
    return isinstance(program, Program) and program.slow


@pytest.fixture(scope="session")
def zoo_image(node: Node) -> Callable[[bool], dict[str, str]]:
    """Imports the image of the quick programs or of the slow ones, once; returns the versions that are in it."""
    imported: dict[bool, dict[str, str]] = {}

    def ensure(slow: bool) -> dict[str, str]:
        if slow not in imported:
            name = "slow" if slow else "quick"
            chosen = packages(slow=slow)
            node.import_image(image.image(name, chosen), image.reference(name))
            imported[slow] = image.versions(name, chosen)
        return imported[slow]

    return ensure


@pytest.fixture(scope="module")
def several_users(node: Node) -> Iterator[Node]:
    """The node with its agent, where captures may have processes of several users."""
    with captured(node):
        node.ensure_agent()
        yield node


@pytest.fixture
def zoo_rows(pytestconfig: pytest.Config) -> list[Row]:
    """What the table is made of."""
    return pytestconfig.stash.setdefault(ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("the zoo")
        terminalreporter.write_line(table(rows))
