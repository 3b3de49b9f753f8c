"""What a running containerd says of its handlers and their pods, over CRI."""

import time

from glowplug.errors import ContainerdError, NodeError

ANSWERS_WITHIN_S = 60.0
_CALL_S = 10.0
_POLL_S = 0.1


def program(address: str, handler: str) -> str | None:
    """BinaryName of the handler in the containerd that runs; None: it has no such handler. Raises ContainerdError."""
    from glowplug.containerd import handlers  # brings grpcio: only where containerd is queried
    from glowplug.containerd.cri import Cri

    with Cri(address, timeout_s=_CALL_S) as cri:
        return handlers.active(cri).get(handler)


def wait(address: str, handler: str, wanted: str | None, deadline_s: float = ANSWERS_WITHIN_S) -> None:
    """Until containerd answers and has the handler with this program (None: has it no more). Raises NodeError."""
    until = time.monotonic() + deadline_s
    while True:
        try:
            found = program(address, handler)
            if found == wanted:
                return
            seen = (
                f"the handler {handler} with the program {found!r}"
                if found is not None
                else "no such handler"
            )
        except ContainerdError as error:
            seen = str(error)
        if time.monotonic() > until:
            what = f"the handler {handler} with {wanted}" if wanted is not None else f"no handler {handler}"
            raise NodeError(f"expected {what} in the running containerd within {deadline_s:g} s, got: {seen}")
        time.sleep(_POLL_S)


def pods(address: str, handler: str) -> list[str]:
    """NAMESPACE/NAME of the pods of this handler that run. Raises ContainerdError."""
    from glowplug.containerd.cri import Cri  # as above

    with Cri(address, timeout_s=_CALL_S) as cri:
        return sorted(
            f"{pod.namespace}/{pod.name}"
            for pod in cri.list_pod_sandbox()
            if pod.handler == handler and pod.ready
        )
