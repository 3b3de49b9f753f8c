"""Table of the features: each starts something and returns the function that tries it."""

from collections.abc import Callable

from integration.workload import connections, files, gone, processes, semaphores

FEATURES: dict[str, Callable[[], Callable[[], object]]] = {
    "processes": processes.children,
    "ended": processes.ended,
    "threads": processes.threads,
    "unix_pair": connections.unix_pair,
    "unix_server": connections.unix_server,
    "tcp_inside": connections.tcp_inside,
    "tcp_own_address": connections.tcp_own_address,
    "tcp_outside": connections.tcp_outside,
    "descriptors": files.descriptors,
    "open_file": files.open_file,
    "inotify": files.inotify,
    "layer": files.layer,
    "memfd": files.memfd,
    "shm_map": files.shm_map,
    "semaphores_multiprocess": semaphores.multiprocess,
    "semaphores_with_a_name": semaphores.with_a_name,
    "segment": semaphores.segment,
    "shm_closed": semaphores.closed,
    "unlinked": gone.unlinked,
    "gone_image": gone.of_the_image,
    "gone_directory": gone.with_its_directory,
    "gone_linked": gone.with_another_name,
    "gone_copied": gone.of_the_image_with_another_name,
}
