"""Table of the features: each starts something and returns the function that tries it."""

from collections.abc import Callable

from integration.workload import connections, files, processes

FEATURES: dict[str, Callable[[], Callable[[], object]]] = {
    "processes": processes.children,
    "threads": processes.threads,
    "unix_pair": connections.unix_pair,
    "unix_server": connections.unix_server,
    "tcp_inside": connections.tcp_inside,
    "tcp_outside": connections.tcp_outside,
    "descriptors": files.descriptors,
    "inotify": files.inotify,
    "layer": files.layer,
    "memfd": files.memfd,
    "shm_map": files.shm_map,
    "unlinked": files.unlinked,
}
