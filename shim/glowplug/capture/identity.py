"""What a container is: queried by a capture of one that runs, and by the agent for one that is being created.

Both must come to the same answer by the same way, so there is one. Reads containerd and, through `readers`, the files
that the container's mounts bring; decides nothing (that is the core's).
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from glowplug.capture import namespaces, node_names, volume_answers, weights
from glowplug.capture.readers import READERS, Answer
from glowplug.capture.volume_files import Unreadable
from glowplug.checkpoint import bundle as bundles
from glowplug.checkpoint import content, key, mounts, noise
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.eligible import RecordFacts, ineligible, ineligible_record, kind_by_labels
from glowplug.checkpoint.judgement import NOTHING_FOUND, Judgement, MountedFiles, undetermined
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import CaptureRefused, ContainerdError
from glowplug.podnet import addresses

DEADLINE_S = 0.5
"""For all volumes of a container that is to start: its start waits for that."""

CAPTURE_DEADLINE_S = 5.0

_NONE: Mapping[str, str] = {}
_KUBELET_S = (mounts.CONTENT, mounts.SERVICE_ACCOUNT)  # written by the kubelet alone, on this node's own disk


@dataclass(frozen=True, slots=True)
class Identity:
    """`against`: every (slug, sentence) of the rules that it breaks; empty: eligible."""

    key: key.WorkloadKey
    against: tuple[tuple[str, str], ...]
    files: MountedFiles = NOTHING_FOUND


def runc_root(config: Config, record: ContainerRecord) -> str:
    """What containerd gives runc as --root for this container: the handler's own, or the configured one."""
    options = record.runc
    root = options.root if options and options.root else config.runc_root
    return f"{root}/{config.containerd_namespace}"


def of(
    containerd: Containerd,
    record: ContainerRecord,
    facts: BundleFacts,
    salt: bytes,
    *,
    runs: bool = False,
    deadline_s: float | None = None,
    sandbox_sysctl: Mapping[str, str] | None = None,
    extras: Mapping[str, str | None] = _NONE,
) -> Identity:
    """Raises ContainerdError where containerd can't say; what a file can't say makes the key unknown.

    `runs`: it was started already, so that what it wrote itself is no other's. `deadline_s`: for its volumes; None:
    DEADLINE_S, or CAPTURE_DEADLINE_S of one that runs. `sandbox_sysctl`: those of the pod; None: read here from its
    sandbox's record. `extras`: as `key.workload_key` has them.
    """
    from_record = RecordFacts(
        snapshotter=record.snapshotter,
        host_network=_is_in_host(facts, "network", "net"),
        host_ipc=_is_in_host(facts, "ipc", "ipc"),
        kind=kind_by_labels(dict(record.labels)),
    )
    against = (*ineligible(facts), *ineligible_record(from_record))
    pod = _sandbox_record(containerd, facts)
    sandbox = sandbox_facts(facts, pod.labels if pod else {})
    if sandbox_sysctl is None and pod is not None:
        sandbox_sysctl = bundles.read(pod.spec).sysctl
    started_before = record.created_at if runs else None
    within_s = deadline_s or (CAPTURE_DEADLINE_S if runs else DEADLINE_S)
    answers = _answers(facts, sandbox, started_before, within_s)
    fillings = {
        place: answer.text
        for place, answer in answers.fillings.items()
        if answer.text != volume_answers.EMPTY
    }
    try:
        chain_id = containerd.chain_id(record)
    except ContainerdError:
        if record.snapshotter == "overlayfs":
            raise
        chain_id = ""
    found = key.workload_key(
        facts,
        chain_id,
        sandbox,
        _texts(answers.mounts),
        salt,
        record.cri.stdin if record.cri else None,
        sandbox_sysctl=sandbox_sysctl,
        extras={**weights.extras(facts), **extras},
        account_uid=_account_uid(facts),
        namespace_uid=namespaces.uid(facts.sandbox_namespace),
        volume_states={place: answer.text for place, answer in answers.states.items()},
        fillings=fillings,
    )
    files = _files(facts, answers)
    if weights.UNKNOWN in found.unknown:
        files = replace(files, why={**files.why, weights.UNKNOWN: weights.why_unknown(facts)})
    return Identity(found, against, files)


def when_frozen(judgement: Judgement, record: ContainerRecord, facts: BundleFacts, salt: bytes) -> Judgement:
    """The same with the state that its volumes have now that no process of it runs (rule 4.4).

    Raises CaptureRefused where that can't be known, or where an emptyDir that others filled was written to since.
    """
    answers = _answers(facts, sandbox_facts(facts), record.created_at, DEADLINE_S, again=True)
    for place, answer in answers.fillings.items():
        if answer.text is None or volume_answers.is_filled(answer.text) != (place in judgement.files.filled):
            raise CaptureRefused("volume-state", f"mount {place}: {answer.why or 'it was filled meanwhile'}")
    states = {
        place: key.keyed(salt, "volume", place, answer.text) if answer.text else None
        for place, answer in answers.states.items()
    }
    frozen = replace(judgement.key, conditions={**judgement.key.conditions, "volumes": states})
    for slug, sentence in undetermined(frozen, replace(judgement.files, why=answers.why())):
        raise CaptureRefused(slug, sentence)
    return replace(judgement, key=frozen)


@dataclass(frozen=True, slots=True)
class _Answers:
    """By the mount's place: what identifies it, what others put into an emptyDir, what state it is in."""

    mounts: dict[str, Answer]
    fillings: dict[str, Answer]
    states: dict[str, Answer]

    def why(self) -> dict[str, str]:
        return {
            place: answer.why
            for table in (self.mounts, self.fillings, self.states)
            for place, answer in table.items()
            if answer.text is None
        }


def _answers(
    facts: BundleFacts,
    sandbox: noise.SandboxFacts,
    started_before: float | None,
    within_s: float,
    *,
    again: bool = False,
) -> _Answers:
    """`again`: only what may have changed since."""
    identities = [] if again else mounts.mount_questions(facts)
    found = _Answers({}, {}, {})
    pending: list[tuple[dict[str, Answer], str, str, str]] = []
    until = time.monotonic() + within_s
    for place, source, how in identities:
        if how in _KUBELET_S:
            found.mounts[place] = _here(source, how, sandbox, until)
        else:
            pending.append((found.mounts, place, source, how))
    pending += [
        (found.fillings, place, source, mounts.EMPTY_DIR) for place, source in mounts.filling_questions(facts)
    ]
    pending += [
        (found.states, place, source, mounts.STATE) for place, source in mounts.state_questions(facts)
    ]
    if pending:
        questions = [(source, how) for _, _, source, how in pending]
        texts = READERS.ask(facts.sandbox_namespace, questions, sandbox, started_before, within_s)
        for (table, place, _, _), answer in zip(pending, texts, strict=True):
            table[place] = answer
    for place in _subpaths_of_empty_dirs(facts):  # they travel: what is written there is in the checkpoint
        found.states.pop(place, None)
    return found


def _here(source: str, how: str, sandbox: noise.SandboxFacts, until: float) -> Answer:
    try:
        return Answer(volume_answers.answer(source, how, sandbox, until, None))
    except Unreadable as error:
        return Answer(None, str(error))
    except (OSError, ValueError) as error:
        return Answer(None, getattr(error, "strerror", None) or type(error).__name__)


def _texts(answers: Mapping[str, Answer]) -> dict[str, str | None]:
    return {place: answer.text for place, answer in answers.items()}


def _files(facts: BundleFacts, answers: _Answers) -> MountedFiles:
    subpaths = _subpaths_of_empty_dirs(facts)
    reported = {
        **answers.fillings,
        **{place: answers.mounts[place] for place in subpaths if place in answers.mounts},
    }
    filled = tuple(place for place, answer in reported.items() if volume_answers.is_filled(answer.text))
    return MountedFiles(filled, tuple(place for place in subpaths if place not in filled), answers.why())


def _subpaths_of_empty_dirs(facts: BundleFacts) -> Sequence[str]:
    return [
        place
        for place, source, how in mounts.mount_questions(facts)
        if how == mounts.CONTENT_OR_BACKING and volume_answers.is_of_empty_dir(source)
    ]


def _sandbox_record(containerd: Containerd, facts: BundleFacts) -> ContainerRecord | None:
    """The pod's sandbox, whose labels and sysctls no container of it has; None where containerd has none (rule 6.1)."""
    try:
        return containerd.container(facts.sandbox_id) if facts.sandbox_id else None
    except NotFound:
        return None


def _account_uid(facts: BundleFacts) -> str:
    for _, source, how in mounts.mount_questions(facts):
        if how == mounts.SERVICE_ACCOUNT:
            with contextlib.suppress(
                OSError, Unreadable
            ):  # then its name can't be known either, and there is no key
                return content.account_uid(volume_answers.token(source, time.monotonic() + DEADLINE_S))
    return ""


def _is_in_host(facts: BundleFacts, type: str, file: str) -> bool | None:
    """Whether the namespace of this type that the spec joins is this node's own; None where it can't be known.

    CRI writes a path for each pod, also for one in the host's network.
    """
    path = facts.namespaces.get(type)
    if not path:
        return path is None
    try:
        return os.stat(path).st_ino == os.stat(f"/proc/self/ns/{file}").st_ino
    except OSError:
        return None


def sandbox_facts(facts: BundleFacts, labels: Mapping[str, str] = _NONE) -> noise.SandboxFacts:
    """What is known of the pod and this node, against which noise is recognised. `labels`: of the sandbox."""
    pause = addresses.process_of(facts.namespaces.get("ipc", ""))
    return noise.SandboxFacts(
        name=facts.sandbox_name,
        namespace=facts.sandbox_namespace,
        uid=facts.sandbox_uid,
        ips=_addresses(pause) if pause else (),
        hostname=_hostname(facts),
        node_names=node_names.known(),
        labels=labels,
        interchangeable=facts.annotations.get(noise.IDENTITY) == noise.INTERCHANGEABLE,
    )


def _addresses(pid: int | str) -> tuple[str, ...]:
    try:
        return addresses.of_process(pid)
    except OSError:
        return ()


def _hostname(facts: BundleFacts) -> str:
    for mount in facts.mounts:
        if mount.destination == "/etc/hostname":
            try:
                with open(mount.source) as file:
                    return file.read(256).strip()
            except OSError:
                return ""
    return facts.hostname
