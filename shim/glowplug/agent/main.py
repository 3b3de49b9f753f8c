"""The agent's life: start, answer, sweep, stop in order on SIGTERM or SIGINT."""

import logging
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial

from glowplug.agent import ingest, logs, restart, service_manager, sweep
from glowplug.agent.captures.children import Children
from glowplug.agent.captures.undo_killed import UndoKilled
from glowplug.agent.deleted_namespaces import DeletedNamespaces
from glowplug.agent.handler_watch import HandlerWatch
from glowplug.agent.kubernetes import pod_labels
from glowplug.agent.learned import Learned
from glowplug.agent.loop.events import Events
from glowplug.agent.loop.heart import Heart
from glowplug.agent.loop.loop import Loop
from glowplug.agent.loop.parts import Parts
from glowplug.agent.reporters import Reporters
from glowplug.agent.serving import prepare
from glowplug.agent.serving.peers import PeerServing
from glowplug.agent.serving.prefetch import Prefetcher
from glowplug.agent.serving.registry_work import RegistryWork
from glowplug.agent.serving.resolve import Resolver
from glowplug.agent.serving.server import Server
from glowplug.agent.spool_reader import SpoolReader
from glowplug.apiserver import this_node
from glowplug.cache.store import Store
from glowplug.capture import node_names
from glowplug.capture.runc import knows_seccomp
from glowplug.config import Config, limits
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.criu import program
from glowplug.errors import ContainerdError, CriuError
from glowplug.host import facts, seccomp
from glowplug.outcomes.history import History
from glowplug.registry import fleet

log = logging.getLogger("glowplug.agent")

ROUND_EVERY_S = 5.0
TIDY_LIMIT_S = 300.0
"""The store may be locked by a capture that deletes, and a killed restore takes its time to clean up."""


def run(config: Config) -> None:
    """Until it is stopped by a signal. Raises UsageError when there is an agent already."""
    logs.set_up(config.log_format)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    loaded = restart.fingerprint(config.criu)
    store = Store(config.cache, limits(config))
    history = History(config.cache)
    begin_anew = False
    with (
        Containerd(config.containerd_socket, config.containerd_namespace) as containerd,
        Cri(config.containerd_socket) as cri,
        ExitStack() as opened,
    ):
        _greet(containerd)
        agent = _Agent(config, store, history, containerd, cri, opened)
        agent.start()
        try:
            service_manager.ready()
            while not stopping.wait(ROUND_EVERY_S):
                agent.round()
                if restart.fingerprint(config.criu) != loaded:
                    log.info("the NVIDIA driver or CRIU is another by now")
                    begin_anew = True
                    break
        finally:
            agent.stop()
    log.info("stopped")
    if begin_anew:
        restart.again()


class _Agent:
    """The agent's parts, joined: made and started in this order, stopped in another."""

    def __init__(
        self,
        config: Config,
        store: Store,
        history: History,
        containerd: Containerd,
        cri: Cri,
        opened: ExitStack,
    ) -> None:
        """`opened` ends what reports, last of all. Raises UsageError when there is an agent already."""
        self._learned = Learned(config.cache, back_off=config.failure_backoff)
        history.reporters.append(self._learned.report)
        host = facts.read(_criu_version(config))
        self._registry = RegistryWork(config, store, partial(pod_labels.of, cri))
        history.reporters.append(self._registry.report)
        resolver = Resolver(config, containerd, store, history, host, self._learned, self._registry)
        _note_seccomp(config.runc)
        _note_node_name(config.node_name)
        self._server = Server({"resolve": resolver.answer, "history": partial(ingest.answer, store, history)})
        # Only now: where another agent listens already, this one must not have spoken for the node.
        self._watch = HandlerWatch(config.containerd_socket)
        self._reporters = opened.enter_context(Reporters(config, store, history, host, self._watch))
        prepare.begin()  # behind the server's socket: what a second agent would forget is the first one's
        self._prefetcher = Prefetcher(store)
        self._spool = SpoolReader(partial(ingest.take_in, store, history))
        parts = Parts(
            config,
            containerd,
            cri,
            store,
            resolver,
            self._learned,
            Children(),
            self._prefetcher.want,
            self._reporters.saw_namespace,
            time.monotonic(),
        )
        self._loop = Loop(parts, self._spool.call)
        self._events = Events(containerd, self._loop.note, self._loop.look_at_all)
        self._undo = UndoKilled(config, containerd, cri)
        deleted = DeletedNamespaces(store, fleet.salt(config.registry, store))
        self._tidy = _Tidy(store, self._learned, deleted)
        self._listening = threading.Thread(target=self._server.serve_forever, name="server")
        self._peers = PeerServing(config)

    def start(self) -> None:
        """Every thread and child."""
        for thread in (*self._threads(), self._watch):
            thread.start()
        self._registry.start()
        self._peers.start()
        log.info("listening on %s", self._server.server_address)

    def round(self) -> None:
        """Every ROUND_EVERY_S. If a thread hangs, nothing is said, and the service manager restarts the agent."""
        hearts = [
            self._prefetcher.heart,
            self._spool.heart,
            *self._loop.hearts,
            self._undo.heart,
            self._tidy.heart,
        ]
        if service_manager.alive(self._threads(), hearts):
            self._reporters.round()

    def stop(self) -> None:
        """Whatever began is left to end, the server last: starts are answered until then."""
        service_manager.stopping()
        self._watch.stop()
        self._events.stop()
        self._loop.close()
        self._registry.close()
        self._peers.close()
        self._undo.close()
        self._tidy.close()
        self._prefetcher.close()
        self._spool.close()
        self._learned.save()
        self._server.shutdown()
        self._listening.join()
        self._server.server_close()

    def _threads(self) -> tuple[threading.Thread, ...]:
        """Those that the agent can't do without."""
        return (
            self._listening,
            self._prefetcher,
            self._spool,
            self._loop,
            self._undo,
            self._tidy,
            self._events,
        )


class _Tidy(threading.Thread):
    """What has time: the store's limits, killed restores, prepared starts that nobody used, what was learned."""

    def __init__(self, store: Store, learned: Learned, deleted: DeletedNamespaces) -> None:
        super().__init__(name="tidy", daemon=True)
        self._deleted = deleted
        self.heart = Heart("tidy", TIDY_LIMIT_S)
        self._store = store
        self._learned = learned
        self._stopping = threading.Event()

    def close(self) -> None:
        """Returns when its round is over, and after a while in any case: its work is the next agent's then."""
        self._stopping.set()
        self.join(sweep.DEADLINE_S)

    def run(self) -> None:
        """Until `close`."""
        while not self._stopping.wait(ROUND_EVERY_S):
            self.heart.beat()
            try:
                sweep.run(self._store)
                self._deleted.remove()
                prepare.forget_all(prepare.KEPT_S)
                self._learned.save()
            except Exception:
                log.exception("a round of tidying failed")


def _note_node_name(setting: str) -> None:
    try:
        node_names.note(this_node.node_name(setting))
    except OSError as error:
        log.error("this node's name in Kubernetes can't be noted, and parts pods of two nodes: %s", error)


def _note_seccomp(runc: str) -> None:
    """Whether a seccomp rule may be added to a container's spec: not where that would keep it from starting."""
    is_known = knows_seccomp(runc)
    seccomp.note(is_known)
    if not is_known:
        log.warning("%s was built without seccomp: io_uring and MPTCP are not withheld from containers", runc)


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
