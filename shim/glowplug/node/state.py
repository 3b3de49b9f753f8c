"""`glowplug node status`: whether the handler is there, active, and as `install` would put it now."""

from dataclasses import dataclass

from glowplug.errors import ContainerdError, GlowplugError
from glowplug.node import install, verify
from glowplug.node.install import Place


@dataclass(frozen=True, slots=True)
class State:
    """`program`: as installed, or as it would be. `containerd`: the handler's program in the one that runs.

    `pods`: NAMESPACE/NAME of the handler's pods; None where containerd can't be queried. `errors`: one line each.
    """

    handler: str
    where: str
    base: str
    program: str
    installed: bool
    containerd: str | None
    pods: list[str] | None
    errors: list[str]


def state(place: Place, runtime: str | None = None, base: str | None = None) -> State:
    """As it is now; changes nothing. Raises UsageError, NodeError."""
    with install.locked(place.config):
        wanted = install.want(place, runtime, base)
    program = wanted.chain.program
    stale = install.stale(wanted)
    installed = any(path not in stale for path in wanted.plan.files)
    errors = [f"{path} is not as `glowplug node install` would write it now: run that" for path in stale]
    found: str | None = None
    pods: list[str] | None = None
    address = place.socket or wanted.main.address(wanted.before.address)
    try:
        found = install.running(address, place.handler)
        pods = verify.pods(address, place.handler)
    except ContainerdError as error:
        errors.append(str(error))
    else:
        if found != program:
            has = "no such handler" if found is None else f"the handler with {found}"
            errors.append(
                f"expected {place.handler} in the running containerd, got {has}: restart containerd"
            )
    try:
        install.try_program(program, address)
    except GlowplugError as error:
        errors.append(str(error))
    return State(place.handler, wanted.plan.kind, wanted.base.name, program, installed, found, pods, errors)
