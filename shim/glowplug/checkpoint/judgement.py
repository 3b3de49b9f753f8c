"""What was decided about a container at its create, from the bundle that runc gets; and its JSON form. Pure.

A judgement is made once. What acts on the container later (a restore, a capture, a hook) takes the answers from
it: what the node would answer at that later moment may be of other files than the process has read. It holds no
secret: specs and the key's values are keyed hashes.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from glowplug.checkpoint import mounts
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.key import WorkloadKey, keyed, keyed_text
from glowplug.checkpoint.mounts import Classified

FORMAT = 3
"""Another one whenever a judgement that is kept must not be gone by any more: a container that it is of counts as one
that was made while no agent ran. So, too, where the rules of keys changed."""

LIMITS = ("memory_limit", "cpu_quota", "cpu_period")
"""Facts of a bundle that the kubelet may change while the container runs (in-place resize)."""

_SAFE = (
    "bcdfghjklmnpqrstvwxz2456789"  # apimachinery, pkg/util/rand: no vowels, nothing that looks like another
)
_GENERATED = (
    re.compile(rf"-(?:[{_SAFE}]{{5}}|[0-9]{{1,5}})$"),  # of a pod; of a StatefulSet's, its ordinal
    re.compile(rf"-(?:[{_SAFE}]{{6,10}}|[0-9]{{8,10}})$"),  # of a ReplicaSet; of a CronJob's Job, its minute
)

WORKLOAD_PARTS = ("image", "args", "cwd")
"""Parts of the key by which a workload is known again, whatever else of its pods differs."""


@dataclass(frozen=True, slots=True)
class MountedFiles:
    """What was found out about the files of a container's mounts, by destination.

    `filled`: emptyDirs that others had filled before the start. `travelling`: subPaths of emptyDirs that they had not.
    `why`: of what can't be known, the reason in a phrase.
    """

    filled: tuple[str, ...] = ()
    travelling: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)

    def mounts(self, facts: BundleFacts) -> tuple[Classified, ...]:
        """Every mount of the bundle, with that."""
        return mounts.as_found(facts, self.filled, self.travelling)

    def because(self, place: str) -> str:
        """The reason in brackets, behind a space; "" where there is none."""
        return f" ({self.why[place]})" if self.why.get(place) else ""


NOTHING_FOUND = MountedFiles()


def undetermined(key: WorkloadKey, files: MountedFiles) -> Iterator[tuple[str, str]]:
    """What of a key can't be known, as a slug with its sentence: it matches nothing, and nobody captures it."""
    for part, what in key.unknown.items():
        yield "unknown-fact", f"{part}: {what} can't be known{files.because(part.removeprefix('mount '))}"
    states = key.conditions.get("volumes")
    for place, state in states.items() if isinstance(states, Mapping) else ():
        if state is None:
            yield (
                "volume-state",
                f"mount {place}: it can be written to, and its state can't be known{files.because(place)}; where the "
                f"process keeps nothing in it, say {mounts.VOLUMES}: {mounts.STATELESS}",
            )


@dataclass(frozen=True, slots=True)
class Judgement:
    """`spec`: keyed hash of the spec that was judged; `edited`: of the one that we put in its place, "" for none.

    `against`: every (slug, sentence) of the rules that it breaks; empty: eligible. `workload`: what its pods have in
    common, a keyed hash under which outcomes are learned. `chosen`: whether the agent captures it automatically at all.
    `files`: what was found out about the files of its mounts.
    """

    container: str
    namespace: str
    pod: str
    name: str
    spec: str
    edited: str
    key: WorkloadKey
    against: tuple[tuple[str, str], ...]
    workload: str
    chosen: bool = True
    files: MountedFiles = NOTHING_FOUND

    def objections(self) -> list[tuple[str, str]]:
        """`against`, and behind it everything that can't be known, as a slug with its sentence."""
        return [*self.against, *undetermined(self.key, self.files)]

    def is_of(self, spec_hash: str) -> bool:
        """Whether a spec (`spec_hash`) is the one that was judged, or the edited one in its place."""
        return spec_hash in (self.spec, self.edited)


def make(
    container: str,
    facts: BundleFacts,
    key: WorkloadKey,
    against: tuple[tuple[str, str], ...],
    *,
    spec: str,
    edited: str,
    salt: bytes,
    chosen: bool = True,
    files: MountedFiles = NOTHING_FOUND,
) -> Judgement:
    """The judgement of a container whose bundle says `facts`."""
    parts = [json.dumps(key.parts.get(name), sort_keys=True) for name in WORKLOAD_PARTS]
    return Judgement(
        container=container,
        namespace=facts.sandbox_namespace,
        pod=facts.sandbox_name,
        name=facts.container_name,
        spec=spec,
        edited=edited,
        key=key,
        against=against,
        workload=keyed(
            salt,
            "workload",
            facts.sandbox_namespace,
            family(facts.sandbox_name),
            facts.container_name,
            *parts,
        ),
        chosen=chosen,
        files=files,
    )


def family(pod: str) -> str:
    """What the names of a controller's pods have in common: the name without what Kubernetes makes up behind it."""
    for generated in _GENERATED:
        pod = generated.sub("", pod)
    return pod


def spec_hash(salt: bytes, spec: Mapping[str, object]) -> str:
    """A keyed hash of a parsed config.json, whatever the order and the white space of its text."""
    return keyed_text(salt, "spec", json.dumps(spec, sort_keys=True, separators=(",", ":")))


def dumps(judgement: Judgement) -> str:
    """The JSON form."""
    plain = _shallow(judgement)
    return json.dumps(
        {"format": FORMAT, **plain, "key": _shallow(judgement.key), "files": _shallow(judgement.files)}
    )


def _shallow(of: Judgement | WorkloadKey | MountedFiles) -> dict[str, Any]:
    """As dataclasses.asdict, which copies every value below: a key may have thousands."""
    return {one.name: getattr(of, one.name) for one in fields(of)}


def loads(text: str | bytes) -> Judgement:
    """Raises ValueError for what is no judgement of this format."""
    plain = json.loads(text)
    try:
        if plain.pop("format") != FORMAT:
            raise ValueError("a judgement of another format")
        return Judgement(
            **{
                **plain,
                "key": _key(plain["key"]),
                "against": tuple(tuple(one) for one in plain["against"]),
                "files": _files(plain["files"]),
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no judgement: {error}") from None


def _key(plain: Mapping[str, Any]) -> WorkloadKey:
    return WorkloadKey(
        str(plain["digest"]), dict(plain["parts"]), dict(plain["unknown"]), dict(plain["conditions"])
    )


def _files(plain: Mapping[str, Any]) -> MountedFiles:
    return MountedFiles(tuple(plain["filled"]), tuple(plain["travelling"]), dict(plain["why"]))


def changed(before: WorkloadKey, now: WorkloadKey, ignored: tuple[str, ...] = ()) -> list[str]:
    """The parts, as dotted names, that are another than they were; `ignored`: names of parts that may be."""
    found: list[str] = []
    for name in before.parts:
        if name not in ignored:
            found += _differing(name, before.parts[name], now.parts.get(name))
    return found


def _differing(name: str, before: object, now: object) -> list[str]:
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict) and name.count(".") < 1:
        inner = sorted(set(before) | set(now))
        return [one for key in inner for one in _differing(f"{name}.{key}", before.get(key), now.get(key))]
    return [name]


SERVICE_LINKS = "service_links"
SHOWN_LINKS = 100
"""Services of a namespace; of more of them nothing is noted."""


def leaves(key: WorkloadKey) -> dict[str, str]:
    """A short hash of each part and condition, by its dotted name: enough to say which ones differ."""
    found: dict[str, str] = {}
    links = key.conditions.get("service_links")
    few = {} if isinstance(links, Mapping) and len(links) > SHOWN_LINKS else {SERVICE_LINKS: links}
    for name, value in {**key.parts, **few, "volume_state": key.conditions.get("volumes")}.items():
        inner = value if isinstance(value, dict) else {}
        for below, one in inner.items():
            found[f"{name}.{below}"] = _short(one)
        if not inner:
            found[name] = _short(value)
    return found


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def resized(before: BundleFacts, now: BundleFacts) -> list[str]:
    """The limits that are others than they were at the create."""
    return [name for name in LIMITS if getattr(before, name) != getattr(now, name)]
