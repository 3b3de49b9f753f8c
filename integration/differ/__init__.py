"""All that the kernel says of each process of a container: read before a capture, compared after a restore.

/proc, getsockopt(2) and fcntl(2) over copies of the descriptors, scheduling, I/O priority, System V IPC. Names of the
fields are paths, `PID/fd/5/flags` say, with numbers as they are in the container; sockets and pipes are
identified by their first holder. known.py lists what may differ, each with the reason; anything else is a difference.
"""

from integration.differ.compare import at_rest, differences, steady
from integration.differ.facts import Facts, of

__all__ = ["Facts", "at_rest", "differences", "of", "steady"]
