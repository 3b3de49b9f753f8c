"""All facts of a container."""

from collections.abc import Iterator
from dataclasses import asdict

from glowplug.host import descriptors, proc, process, thread_probe
from integration.differ import files, ipc, mappings, processes, threads
from integration.differ.numbers import Numbers

Facts = dict[str, str]


def of(init: int) -> Facts:
    """Of the tree below a container's first process (the node's pid). What ends meanwhile is left out."""
    pids = [pid for pid in process.tree(init) if not process.is_zombie(pid)]
    numbers = Numbers(pids)
    opened = files.Opened(descriptors.of(pids), numbers)
    found: Facts = {}
    for pid in pids:
        try:
            one = {
                **dict(processes.of(pid, init, numbers)),
                **dict(mappings.of(pid)),
                **dict(opened.of(pid)),
                **dict(threads.of(pid, numbers)),
            }
        except OSError:
            continue
        found |= {f"{numbers.inside(pid)}/{field}": value for field, value in one.items()}
    return (
        found
        | dict(_own_settings(init, pids, numbers))
        | {f"ipc/{field}": value for field, value in ipc.of(init)}
    )


def _own_settings(init: int, pids: list[int], numbers: Numbers) -> Iterator[tuple[str, str]]:
    """What only a thread itself can say of itself (prctl(2), Landlock), where it is not as in a new one."""
    if not thread_probe.can_call():
        return
    of = {thread: pid for pid in pids for thread in proc.tasks(pid)}
    for one in thread_probe.ask(init, list(of)):
        values = asdict(one)
        values.pop("thread")
        yield f"{numbers.inside(of[one.thread])}/thread/{numbers.inside(one.thread)}/own", str(values)
