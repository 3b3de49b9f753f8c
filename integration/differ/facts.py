"""All facts of a container."""

from glowplug.host import descriptors, process
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
    return found | {f"ipc/{field}": value for field, value in ipc.of(init)}
