"""The zoo's images on the node, and a table at the end of a run."""

from collections.abc import Callable, Iterator

import pytest

from integration.node import Node
from integration.several_users import captured
from integration.zoo import image
from integration.zoo.all import packages
from integration.zoo.program import Program
from integration.zoo.report import Row, line, table

PROPERTY = "zoo"
"""Of a test's report, which comes from the process that ran the test to the one that prints the table."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Programs that take long only where they are requested."""
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
def into_table(record_property: Callable[[str, object], None]) -> Callable[[Row], None]:
    """Puts a program's row into the table."""
    return lambda row: record_property(PROPERTY, line(row))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    lines = [str(said) for one in reports for name, said in one.user_properties if name == PROPERTY]
    if lines:
        terminalreporter.section("the zoo")
        terminalreporter.write_line(table(sorted(lines)))
