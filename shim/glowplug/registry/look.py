"""What a registry has for a workload, and whether it may be taken in: decided before a blob of it is pulled.

In this order, each with a slug of its own: is there one (not-found); did somebody sign it whom this node trusts for the
namespace (unsigned, wrong-signature, other-signature); is it what its tag says (not-ours, other-tag, other-namespace);
is it the newest (rolled-back, too-old); is it readable (damaged, newer-artifact); does the host fit (the slug of
docs/matching.md).
"""

import time
from collections.abc import Callable
from dataclasses import fields, replace

from glowplug.checkpoint.reason import Reason
from glowplug.checkpoint.requirements import Gpu, HostFacts, HostRequirements, compare
from glowplug.errors import RegistryMiss
from glowplug.registry import config, keys, names, oci, seen, signature
from glowplug.registry.client import Repository
from glowplug.registry.found import Found
from glowplug.registry.oci import Artifact
from glowplug.registry.push import signatures_of
from glowplug.registry.settings import RegistrySettings

Fits = Callable[[HostRequirements], list[Reason]]


def by_key(
    repository: Repository,
    settings: RegistrySettings,
    cache: str,
    namespace: str,
    key_digest: str,
    host_class: str,
) -> Found:
    """The newest checkpoint of a workload for hosts of this class; else for any, which then says what differs.

    One request where there is one or none was ever pushed for another host. Raises RegistryMiss, RegistryError.
    """
    for tag in (names.host_tag(key_digest, host_class), names.key_tag(key_digest)):
        data = repository.manifest(tag)
        if data is not None:
            found = checked(repository, settings, cache, namespace, tag, data)
            if found.config.key != key_digest:
                raise RegistryMiss("other-tag", f"{tag} holds a checkpoint of another workload")
            return found
    raise RegistryMiss(
        "not-found", f"the registry has no checkpoint of this workload ({names.key_tag(key_digest)})"
    )


def by_tag(repository: Repository, settings: RegistrySettings, cache: str, namespace: str, tag: str) -> Found:
    """What a tag, or a digest of a manifest, leads to. Raises RegistryMiss, RegistryError."""
    data = repository.manifest(tag)
    if data is None:
        raise RegistryMiss("not-found", f"the registry has no {repository.path}:{tag}")
    return checked(repository, settings, cache, namespace, tag, data)


def checked(
    repository: Repository, settings: RegistrySettings, cache: str, namespace: str, tag: str, data: bytes
) -> Found:
    """Raises RegistryMiss unless the manifest that was found under the tag may be trusted."""
    digest = names.digest(data)
    signature.require(digest, signatures_of(repository, digest), keys.trusted(settings, namespace))
    artifact = oci.loads(data)
    _require_place(artifact, namespace, tag)
    _require_fresh(artifact, settings, cache, f"{repository.path}:{tag}", digest)
    said = oci.config_of(repository.blob(artifact.config, config.LIMIT), artifact.config)
    oci.require_agreement(artifact, said)
    return Found(namespace, digest, artifact, said)


def require_fit(found: Found, fits: Fits) -> None:
    """Raises RegistryMiss with the first requirement that this host, or the pod, does not meet."""
    reasons = fits(found.config.requirements)
    if reasons:
        raise RegistryMiss(
            reasons[0].slug,
            f"checkpoint {found.config.checkpoint} in the registry was not pulled: "
            + "; ".join(str(reason) for reason in reasons[:3]),
        )


def on(row: HostRequirements) -> Fits:
    """For a container: the row of the node and of what is assigned to the container."""
    return lambda needs: compare(needs, row)


def on_node(host: HostFacts, gpus: tuple[Gpu, ...] | None) -> Fits:
    """For a pod that is not there yet: what the node alone decides. `gpus`: all of this node; None: not known."""

    def fits(needs: HostRequirements) -> list[Reason]:
        of_node = {field.name: getattr(host, field.name) for field in fields(HostFacts)}
        of_node["cpu_features"] = None if host.cpu_features is None else tuple(sorted(host.cpu_features))
        if needs.gpu_count and gpus is not None:
            alike = [gpu for gpu in gpus if gpu.product in (needs.gpu_products or ())]
            if len(alike) < needs.gpu_count:
                of_node["gpu_products"] = tuple(sorted(gpu.product for gpu in gpus))
        return compare(needs, replace(needs, **of_node))

    return fits


def _require_place(artifact: Artifact, namespace: str, tag: str) -> None:
    if artifact.annotations[names.NAMESPACE] != namespace:
        raise RegistryMiss("other-namespace", f"{tag} holds a checkpoint of another namespace")
    if not names.is_digest(tag) and tag not in artifact.tags:
        raise RegistryMiss("other-tag", f"{tag} holds an artifact that was signed for {artifact.tags[1]}")


def _require_fresh(
    artifact: Artifact, settings: RegistrySettings, cache: str, place: str, digest: str
) -> None:
    seen.require_newest(cache, place, artifact.pushed, digest)
    age_s = time.time() - artifact.pushed
    if settings.max_age_s and age_s > settings.max_age_s:
        raise RegistryMiss(
            "too-old",
            f"{place} was pushed {age_s:.0f} s ago; this node takes {settings.max_age_s:.0f} s (max_age_s)",
        )
    seen.note(cache, place, artifact.pushed, digest)
