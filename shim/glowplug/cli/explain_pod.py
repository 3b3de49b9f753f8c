"""`explain POD`: what happened at the start of each of its containers, and the verdict now."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from glowplug.capture.policy import is_chosen
from glowplug.checkpoint import bundle
from glowplug.checkpoint.worth import Prediction
from glowplug.cli import captures, history, phases, reasons, resolve_id, screen, timeline_text
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import (
    CONTAINER_NAME_LABEL,
    KIND_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    ContainerRecord,
)
from glowplug.errors import ContainerdError, UsageError
from glowplug.explain import verdicts
from glowplug.explain.verdicts import Judged, Judging
from glowplug.outcomes import record as fields
from glowplug.outcomes import starts
from glowplug.outcomes.record import Record
from glowplug.outcomes.starts import Start

TIMEOUT_S = 10.0
_NEVER_CAPTURED = ("no-checkpoint", "no-agent", "off")
_NOT_CAPTURED = (
    "nobody captures this container: it is not one of glowplug.dev/containers, and has no GPU; with its name, "
    "`glowplug explain` compares it all the same"
)


@dataclass(frozen=True, slots=True)
class Explained:
    """One container. `starts`: on record, the oldest first. `judged` None: `not_judged` says why. `capture`: the last
    one of it on record."""

    container: str
    id: str
    state: str
    starts: tuple[Start, ...]
    judged: Judged | None
    not_judged: str
    capture: Record | None = None


def run(
    config: Config, namespace: str, pod: str, container: str | None, *, everything: bool, as_json: bool
) -> None:
    """Raises UsageError when neither containerd nor the history knows of such a container."""
    explained = find(config, namespace, pod, container)
    if as_json:
        plain = [_plain(one) for one in explained]
        screen.as_json({"namespace": namespace, "pod": pod, "containers": plain})
        return
    for index, one in enumerate(explained):
        if index:
            screen.line()
        _show(namespace, pod, one, everything)


def find(config: Config, namespace: str, pod: str, container: str | None) -> list[Explained]:
    """Each container of the pod, or the selected one, as its latest attempt."""
    recorded = history.records(config.cache)
    began = [
        start
        for start in starts.of(recorded)
        if (start.namespace, start.pod) == (namespace, pod) and container in (None, start.container)
    ]
    captured = captures.of(recorded, namespace, pod)
    with Containerd(config.containerd_socket, config.containerd_namespace, timeout_s=TIMEOUT_S) as containerd:
        try:
            records, unreachable = _records(containerd, namespace, pod, container), ""
        except ContainerdError as error:
            if not began:
                raise
            records, unreachable = {}, str(error)
        names = sorted(records.keys() | {start.container for start in began})
        if not names:
            wanted = "/".join(part for part in (namespace, pod, container) if part)
            raise UsageError(
                f"{wanted}: no such container is or was on this node; "
                "see `crictl ps -a` and `glowplug history`"
            )
        judging = Judging(config, containerd, resolve_id.store(config))
        own = {name: tuple(start for start in began if start.container == name) for name in names}
        # In a pod where some containers are captured, the others; in any other pod every container is compared.
        left_out = {
            name
            for name, record in records.items()
            if container is None and _is_of_no_interest(record, own[name], config)
        }
        if left_out == set(names):
            left_out = set()
        explained = []
        for name in names:
            if name in left_out:
                explained.append(Explained(name, records[name].id, "", own[name], None, _NOT_CAPTURED))
            else:
                explained.append(
                    _explained(containerd, judging, name, records.get(name), own[name], unreachable)
                )
        # What is captured comes first: an init container or a sidecar is rarely what was meant.
        explained = [replace(one, capture=_last_of(captured, one.container)) for one in explained]
        return sorted(explained, key=lambda one: one.not_judged == _NOT_CAPTURED)


def _is_of_no_interest(record: ContainerRecord, own: Iterable[Start], config: Config) -> bool:
    """A container that nobody captures (an init container, a sidecar), and of which there never was a checkpoint."""
    if any(start.outcome.partition(":")[2] not in _NEVER_CAPTURED for start in own):
        return False
    return not is_chosen(bundle.read(record.spec), config.capture_default_scope)


def _records(
    containerd: Containerd, namespace: str, pod: str, container: str | None
) -> dict[str, ContainerRecord]:
    """By container name, the latest attempt of each; ended ones too, while containerd keeps them."""
    labels = {KIND_LABEL: "container", POD_NAMESPACE_LABEL: namespace, POD_NAME_LABEL: pod}
    if container is not None:
        labels[CONTAINER_NAME_LABEL] = container
    found = sorted(containerd.containers(labels), key=lambda record: record.created_at)
    return {record.labels.get(CONTAINER_NAME_LABEL, record.id): record for record in found}


def _explained(
    containerd: Containerd,
    judging: Judging,
    name: str,
    record: ContainerRecord | None,
    own: tuple[Start, ...],
    unreachable: str,
) -> Explained:
    if record is None:
        why = unreachable or "the container is gone from containerd, and its spec with it"
        return Explained(name, own[-1].container_id, "unknown" if unreachable else "gone", own, None, why)
    task = containerd.task(record.id)
    state = task.status if task else "ended, or not started"
    found, why = None, ""
    try:
        found = judging.judge(record, bundle.read(record.spec))
    except ContainerdError as error:
        why = str(error)
    return Explained(name, record.id, state, own, found, why)


def _last_of(captured: Sequence[Record], container: str) -> Record | None:
    """The last capture of it; one that failed early has no container's name."""
    return next((one for one in reversed(captured) if fields.text(one, "container") in (container, "")), None)


def _show(namespace: str, pod: str, one: Explained, everything: bool) -> None:
    state = f", {one.state}" if one.state else ""
    screen.line(f"{namespace}/{pod}/{one.container}: container {one.id[:12]}{state}")
    _show_start(one)
    if one.capture is not None:
        screen.line(f"  capture:    {captures.said(one.capture)}")
    screen.line()
    if one.judged is None:
        screen.line(f"verdict now: none: {one.not_judged}")
    else:
        show_judged(one.judged, everything)


def _show_start(one: Explained) -> None:
    start = one.starts[-1] if one.starts else None
    if start is None or start.container_id != one.id:
        screen.line("  start:      not on record: under another handler, not yet, or long ago")
        return
    for line in timeline_text.lines(start):
        screen.line(line)
    if len(one.starts) > 1:
        screen.line(f"  earlier:    {len(one.starts) - 1} on record: `glowplug history`")
    if start.phases:
        screen.line()
        rows = [(phase, screen.seconds(start.phases[phase])) for phase in phases.in_order(start.phases)]
        screen.table(("phase", "took"), rows, right=("took",))


def show_judged(found: Judged, everything: bool) -> None:
    """The verdict's sentence, what stands in the way of any restore, and the table."""
    screen.line(f"verdict now: {found.why}")
    for slug, sentence in found.against:
        screen.line(f"  not eligible ({slug}): {sentence}")
    if found.registry is not None:
        line = f"{found.registry.slug}, queried {screen.age(found.registry.at)} ago"
        screen.line(f"  registry ({line}){': ' if found.registry.detail else ''}{found.registry.detail}")
    chosen = next((one for one in found.candidates if one.id == found.chosen), None)
    if chosen is not None and chosen.verdict.prediction is not None:
        screen.line(f"  {_predicted(chosen.verdict.prediction)}")
    for part, what in found.unknown:
        screen.line(f"  unknown: {part}: {what} can't be known")
    if found.candidates:
        screen.line()
    rows = ((one.id, one.verdict.reasons, "matches") for one in found.candidates)
    reasons.show(rows, everything=everything)


def _predicted(found: Prediction) -> str:
    cold = "was not measured" if found.cold_s is None else f"took {screen.seconds(found.cold_s)}"
    return f"a restore is predicted to take {screen.seconds(found.restore_s)}; the cold start {cold}"


def _plain(one: Explained) -> dict[str, object]:
    start = one.starts[-1] if one.starts and one.starts[-1].container_id == one.id else None
    return {
        "container": one.container,
        "id": one.id,
        "state": one.state,
        "start": asdict(start) if start else None,
        "earlier_starts": len(one.starts) - (1 if start else 0),
        "verdict": verdicts.plain(one.judged) if one.judged else None,
        "not_judged": one.not_judged or None,
        "capture": dict(one.capture) if one.capture else None,
    }
