"""io_uring and MPTCP in a container of this handler: not there, unless its owner asks for them."""

import ctypes
import errno
import socket

import pytest

from integration.captured import captured, outcome
from integration.node import Node
from integration.pods import Pods

IO_URING_SETUP = 425
ASK = (
    "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
    f"libc.syscall({IO_URING_SETUP}, 0, None); print(ctypes.get_errno())"
)


def there_is_io_uring() -> bool:
    """Whether this kernel knows the call at all, and lets root make it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(IO_URING_SETUP, 0, None)
    return ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM)


pytestmark = pytest.mark.skipif(not there_is_io_uring(), reason="wants a kernel with io_uring")


@pytest.fixture(scope="module", autouse=True)
def agent(node: Node) -> None:
    node.ensure_agent()


@pytest.mark.parametrize(
    ("handler", "annotations", "there"),
    [
        ("glowplug", {}, False),
        ("glowplug", {"glowplug.dev/io-uring": "allow"}, True),
        ("glowplug", {"glowplug.dev/restore": "off"}, True),
        ("runc", {}, True),
    ],
)
def test_a_container_has_io_uring_where_its_owner_asks_for_it(
    handler: str, annotations: dict[str, str], there: bool, pods: Pods
) -> None:
    """Of another handler, or turned off: as under runc."""
    pod = pods.run(handler=handler, annotations=annotations)
    container = pod.serving(annotations=annotations)
    said = int(container.exec("python3", "-c", ASK).stdout)
    assert (said != errno.ENOSYS) == there


def test_a_restored_container_has_none_either(node: Node, pods: Pods) -> None:
    taken = captured(node, pods)
    container = pods.run(**taken.pod_fields).container(**taken.fields)
    container.start()
    assert outcome(node, container) == "restored"
    assert int(container.exec("python3", "-c", ASK).stdout) == errno.ENOSYS


ASK_MPTCP = """
import socket
try:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    print(0)
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize(
    ("handler", "annotations", "there"),
    [
        ("glowplug", {}, False),
        ("glowplug", {"glowplug.dev/mptcp": "allow"}, True),
        ("runc", {}, True),
    ],
)
def test_a_container_has_mptcp_where_its_owner_asks_for_it(
    handler: str, annotations: dict[str, str], there: bool, pods: Pods
) -> None:
    if not there_is_mptcp():
        pytest.skip("wants a kernel with MPTCP")
    container = pods.run(handler=handler, annotations=annotations).serving(annotations=annotations)
    said = int(container.exec("python3", "-c", ASK_MPTCP).stdout)
    assert said == (0 if there else errno.EPROTONOSUPPORT)


def there_is_mptcp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError:
        return False
    return True
