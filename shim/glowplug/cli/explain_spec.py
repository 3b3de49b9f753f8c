"""`explain --spec FILE`: the verdict before a start, for an OCI bundle or a Kubernetes manifest."""

import json
import os
from dataclasses import asdict

from glowplug.capture import node_names
from glowplug.checkpoint import bundle, withheld
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.manifest import loads
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.checkpoint.oci import BundleError, Spec
from glowplug.cli import explain_pod, reasons, resolve_id, screen
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import CacheError, ManifestError, UsageError
from glowplug.explain import pod_manifest, preflight, verdicts
from glowplug.explain.pod_manifest import ManifestContainer
from glowplug.explain.preflight import Preflight
from glowplug.explain.verdicts import Judging
from glowplug.host import seccomp

LIMIT = 16 << 20  # bytes; a larger file is no spec
DEEPEST = 100  # levels in one another; the YAML library's own recursion ends the process much later
TIMEOUT_S = 10.0


def run(config: Config, path: str, namespace: str | None, *, everything: bool, as_json: bool) -> None:
    """Raises UsageError for a file that is neither."""
    documents = _documents(path)
    store = resolve_id.store(config)
    with Containerd(config.containerd_socket, config.containerd_namespace, timeout_s=TIMEOUT_S) as containerd:
        judging = Judging(config, containerd, store)
        if len(documents) == 1 and isinstance(documents[0], dict) and "ociVersion" in documents[0]:
            _explain_bundle(containerd, judging, documents[0], namespace, everything, as_json)
        else:
            wanted, left_out = pod_manifest.read(documents, namespace)
            _explain_manifest(judging, wanted, left_out, everything, as_json)


def _documents(path: str) -> list[object]:
    """The YAML documents of the file (JSON is YAML), or the config.json of a bundle's directory."""
    import yaml

    file = f"{path}/config.json" if os.path.isdir(path) else path
    try:
        with open(file, "rb") as opened_file:
            text = opened_file.read(LIMIT + 1)
    except OSError as error:
        raise UsageError(f"can't read a bundle or a manifest from {file}: {error.strerror}") from None
    if len(text) > LIMIT:
        raise UsageError(f"{file}: longer than {LIMIT} bytes")
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        pass
    try:
        _require_shallow(file, text)
        return list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark else ""
        raise UsageError(f"{file}: expected JSON or YAML, got neither{where}") from None


def _require_shallow(file: str, text: bytes) -> None:
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise UsageError(f"{file}: nested deeper than {DEEPEST} levels")


# -- a bundle --


def _explain_bundle(
    containerd: Containerd,
    judging: Judging,
    spec: Spec,
    namespace: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    try:
        facts = bundle.read(spec)
    except BundleError as error:
        raise UsageError(str(error)) from None
    if namespace is not None and namespace != facts.sandbox_namespace:
        raise UsageError(
            f"expected a bundle of namespace {namespace}, got one of {facts.sandbox_namespace or 'none'}: "
            "leave --namespace out"
        )
    record = _record(containerd, facts)
    if record is not None:
        facts = _before_our_edit(facts, record)
    found = judging.judge(record or _stand_in(facts, spec), facts, exists=record is not None)
    if as_json:
        plain = {"container": facts.container_name, "pod": facts.sandbox_name, "known": record is not None}
        screen.as_json({**plain, **verdicts.plain(found)})
        return
    names = (facts.sandbox_namespace, facts.sandbox_name, facts.container_name)
    screen.line("/".join(name or "?" for name in names) + ": a bundle, before its start")
    if record is None:
        screen.line("  containerd has no such container, so its image and its disk can't be known")
    screen.line()
    explain_pod.show_judged(found, everything)


def _record(containerd: Containerd, facts: BundleFacts) -> ContainerRecord | None:
    """containerd's, which exists before the bundle does. Raises ContainerdError."""
    if not facts.container_id:
        return None
    try:
        return containerd.container(facts.container_id)
    except NotFound:
        return None


def _before_our_edit(facts: BundleFacts, record: ContainerRecord) -> BundleFacts:
    """After a cold start the bundle holds our own seccomp filter: not what a start meets, and no difference."""
    made = record.spec
    if facts.seccomp == bundle.read(withheld.without(made, seccomp.machine())).seccomp:
        facts.seccomp = bundle.read(made).seccomp
    return facts


def _stand_in(facts: BundleFacts, spec: Spec) -> ContainerRecord:
    return ContainerRecord(
        id=facts.container_id,
        snapshotter="",
        snapshot_key="",
        runc=None,
        labels={},
        created_at=0.0,
        cri=None,
        spec=spec,
        spec_text=b"",
    )


# -- a manifest --


def _explain_manifest(
    judging: Judging,
    containers: list[ManifestContainer],
    left_out: list[str],
    everything: bool,
    as_json: bool,
) -> None:
    plain = []
    for index, wanted in enumerate(containers):
        against = preflight.against(wanted)
        found = _preflight(judging, wanted)
        if as_json:
            plain.append(_plain(wanted, against, found))
            continue
        if index:
            screen.line()
        _show(wanted, against, found, everything)
    if as_json:
        screen.as_json({"containers": plain, "left_out": left_out})
    elif left_out:
        screen.line()
        screen.line(f"left out, as there is no pod in it: {', '.join(left_out)}")


def _preflight(judging: Judging, wanted: ManifestContainer) -> list[tuple[str, Preflight]]:
    """Nearest first; checkpoints that can't be read are left out here, `glowplug list` shows them."""
    sandbox = SandboxFacts(
        name=wanted.pod,
        namespace=wanted.namespace,
        uid="",
        hostname=wanted.pod,
        node_names=node_names.known(),
    )
    found = []
    accepts = judging.accepts(wanted.annotations, wanted.namespace)
    for entry in judging.store.index.of_namespace(wanted.namespace, accepts):
        try:
            kept = loads(judging.store.manifest(entry.id))
        except (CacheError, ManifestError):
            continue
        found.append((entry.id, preflight.compare(kept, wanted, judging.host, judging.salt, sandbox)))
    return sorted(found, key=lambda one: len(one[1].reasons))


def _show(
    wanted: ManifestContainer,
    against: list[tuple[str, str]],
    found: list[tuple[str, Preflight]],
    everything: bool,
) -> None:
    names = (wanted.namespace, wanted.pod or "(a template)", wanted.container)
    screen.line("/".join(names) + ": a manifest, before there is a container")
    for slug, sentence in against:
        screen.line(f"  not eligible ({slug}): {sentence}")
    open_ones = [one for one in found if not one[1].reasons]
    screen.line()
    if not found:
        screen.line(f"verdict: there is no checkpoint for namespace {wanted.namespace}")
        return
    if against:
        screen.line("verdict: no checkpoint would be looked for")
    elif open_ones:
        screen.line(f"verdict: nothing speaks against {len(open_ones)} of {len(found)} checkpoints yet")
    else:
        screen.line(f"verdict: none of {len(found)} checkpoints fits")
    if open_ones:
        screen.line(f"  reported at the start only: {'; '.join(open_ones[0][1].undetermined)}")
    screen.line()
    rows = ((id, one.reasons, "nothing differs so far") for id, one in found)
    reasons.show(rows, everything=everything)


def _plain(
    wanted: ManifestContainer, against: list[tuple[str, str]], found: list[tuple[str, Preflight]]
) -> dict[str, object]:
    return {
        "namespace": wanted.namespace,
        "pod": wanted.pod or None,
        "container": wanted.container,
        "against": [{"slug": slug, "sentence": sentence} for slug, sentence in against],
        "candidates": [
            {
                "checkpoint": id,
                "possible": not one.reasons,
                "reasons": [asdict(reason) for reason in one.reasons],
                "undetermined": list(one.undetermined),
            }
            for id, one in found
        ],
    }
