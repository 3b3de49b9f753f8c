"""The agent's life: start, answer, sweep, stop in order on SIGTERM or SIGINT."""

import logging
import signal
import threading
from functools import partial

from glowplug.agent import intake, logs, service_manager, sweep
from glowplug.agent.automatic import Automatic
from glowplug.agent.follow import Follower
from glowplug.agent.history import History
from glowplug.agent.newcomers import Newcomers
from glowplug.agent.prefetch import Prefetcher
from glowplug.agent.prepare import KEPT_S, Preparer, forget_all
from glowplug.agent.resolve import Resolver
from glowplug.agent.server import Server
from glowplug.agent.telling import Telling
from glowplug.cache.store import Store
from glowplug.config import Config, limits
from glowplug.containerd.client import Containerd
from glowplug.criu import program
from glowplug.errors import ContainerdError, CriuError
from glowplug.host import facts

log = logging.getLogger("glowplug.agent")

SWEEP_EVERY_S = 5.0


def run(config: Config) -> None:
    """Until told to stop. Raises UsageError when there is an agent already."""
    logs.set_up(config.log_format)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    store = Store(config.cache, limits(config))
    history = History(config.cache)
    host = facts.read(_criu_version(config))
    with (
        Containerd(config.containerd_socket, config.containerd_namespace) as containerd,
        Telling(config, store, history, host) as telling,
    ):
        _greet(containerd)
        resolver = Resolver(config, containerd, store, history, host)
        prefetcher = Prefetcher(store)
        newcomers = Newcomers(containerd)
        preparer = Preparer(newcomers, resolver.judge, prefetcher.want)
        automatic = Automatic(config, containerd, newcomers, store, resolver.verdicts)
        follower = Follower(
            containerd,
            {
                "/containers/create": [newcomers.created, preparer.created],
                "/containers/delete": [preparer.deleted, newcomers.deleted],
                "/tasks/start": [automatic.started, preparer.started],
            },
            [automatic.catch_up],
        )
        server = Server({"resolve": resolver.answer, "history": partial(intake.answer, store, history)})
        listening = threading.Thread(target=server.serve_forever, name="server")
        listening.start()
        prefetcher.start()
        automatic.start()
        follower.start()
        log.info("listening on %s", server.server_address)
        try:
            service_manager.ready()
            while not stopping.wait(SWEEP_EVERY_S):
                intake.take_in(store, history)
                sweep.run(store)
                forget_all(KEPT_S)
                if service_manager.alive((listening, follower)):
                    telling.round()
        finally:
            service_manager.stopping()
            follower.stop()
            automatic.close()
            preparer.close()
            prefetcher.close()
            server.shutdown()
            listening.join()
            server.server_close()
    log.info("stopped")


def _greet(containerd: Containerd) -> None:
    """Connect now, not at the first question. An absent containerd is no reason to be absent, too."""
    try:
        log.info("containerd %s", containerd.version())
    except ContainerdError as error:
        log.warning("%s", error)


def _criu_version(config: Config) -> str | None:
    """None where there is none: every checkpoint misses then, with that reason."""
    try:
        return ".".join(str(number) for number in program.version(config.criu))
    except CriuError as error:
        log.warning("%s", error)
        return None
