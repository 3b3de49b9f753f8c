"""What several checks want to know of others, queried once: containerd's configuration, NVML's list of GPUs."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from glowplug.config import Config
from glowplug.errors import GlowplugError, HostError

if TYPE_CHECKING:
    from glowplug.containerd.cri import RuntimeStatus
    from glowplug.cuda.facts import Node

HANDLER = "glowplug"
"""Name of our handler in containerd's configuration, unless `glowplug node install --handler` gave another."""

ANSWERS_WITHIN_S = 5.0

Answer = TypeVar("Answer")


class Probes:
    """One node's answers. Who gave none is not queried again: who asks again gets that in a few words."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._answers: dict[str, object] = {}
        self._silent: set[str] = set()

    def containerd_version(self) -> str:
        """As containerd says it: "1.6.20~ds1", "v2.1.9". Raises ContainerdError, HostError."""
        return self._once("containerd", "version", self._ask_version)

    def cri(self) -> "RuntimeStatus":
        """CRI's conditions and its active configuration. Raises ContainerdError, HostError."""
        return self._once("containerd", "cri", self._ask_cri)

    def handler(self) -> Mapping[str, Any] | None:
        """Our handler in that configuration, with containerd's own names of keys; None: there is none.

        Raises ContainerdError, HostError.
        """
        return ours(handlers(self.cri().config))

    def gpus(self) -> "Node":
        """What NVML says. Raises HostError."""
        return self._once("NVML", "gpus", _ask_nvml)

    def _once(self, who: str, what: str, ask: Callable[[], Answer]) -> Answer:
        if who in self._silent:
            raise HostError(f"{who} does not answer")
        if what not in self._answers:
            try:
                self._answers[what] = ask()
            except GlowplugError:
                self._silent.add(who)
                raise
        return cast("Answer", self._answers[what])

    def _ask_version(self) -> str:
        from glowplug.containerd.client import Containerd  # brings grpcio, as the next

        config = self.config
        with Containerd(
            config.containerd_socket, config.containerd_namespace, timeout_s=ANSWERS_WITHIN_S
        ) as containerd:
            return containerd.version()

    def _ask_cri(self) -> "RuntimeStatus":
        from glowplug.containerd.cri import Cri

        with Cri(self.config.containerd_socket, timeout_s=ANSWERS_WITHIN_S) as cri:
            return cri.status()


def _ask_nvml() -> "Node":
    from glowplug.cuda import facts  # brings pynvml

    return facts.read()


def handlers(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The runtime handlers in CRI's configuration by name."""
    from glowplug.containerd.handlers import listed  # brings grpcio

    return listed(config)


def ours(found: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The handler of our name, else the first with our program; None: there is none."""
    from glowplug.containerd.records import is_ours  # brings protobuf

    others = sorted(name for name, one in found.items() if is_ours(str(options(one).get("BinaryName"))))
    return found.get(HANDLER) or (found[others[0]] if others else None)


def options(handler: Mapping[str, Any]) -> Mapping[str, Any]:
    """A handler's options for the shim: BinaryName, Root, SystemdCgroup."""
    found = handler.get("options")
    return found if isinstance(found, Mapping) else {}
