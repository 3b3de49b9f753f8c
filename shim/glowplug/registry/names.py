"""Names of the format: media types, annotations, tags, repositories (docs/artifact.md)."""

import hashlib
import json
import re
from collections.abc import Iterable

from glowplug.checkpoint.requirements import HostRequirements

ARTIFACT_TYPE = "application/vnd.glowplug.checkpoint.v1"
CONFIG_TYPE = "application/vnd.glowplug.checkpoint.config.v1+json"
PROVENANCE_TYPE = "application/vnd.glowplug.provenance.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_OF_MANIFESTS_TYPE = "application/vnd.oci.image.index.v1+json"
SIGNATURE_LAYER_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"

# The index is one zstd frame, a pack is chunks of one frame each; encrypted where the type says so.
INDEX_PLAIN = "application/vnd.glowplug.checkpoint.index.v1.zstd"
INDEX_SEALED = f"{INDEX_PLAIN}.aes256gcm"
PACK_PLAIN = "application/vnd.glowplug.checkpoint.pack.v1.zstd"
PACK_SEALED = f"{PACK_PLAIN}.aes256gcm"

CREATED = "org.opencontainers.image.created"
CHECKPOINT = "dev.glowplug.checkpoint"
NAMESPACE = "dev.glowplug.namespace"
KEY = "dev.glowplug.key"
HOST_CLASS = "dev.glowplug.host-class"
PUSHED = "dev.glowplug.pushed"
COSIGN_SIGNATURE = "dev.cosignproject.cosign/signature"

_KEY_DIGITS = 40
_CLASS_DIGITS = 12
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST_TAG = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS}}}-[0-9a-f]{{{_CLASS_DIGITS}}}")
_CHECKPOINT_TAG = re.compile(r"c-[0-9a-f]{32}")
_SIGNATURE_TAG = re.compile(r"sha256-([0-9a-f]{64})\.sig")


def is_namespace(text: str) -> bool:
    """Whether it is a Kubernetes namespace's name (RFC 1123 label), and so one component of a repository."""
    return bool(_NAMESPACE.fullmatch(text))


def is_digest(text: object) -> bool:
    """Whether it is a sha256 digest in the form of OCI."""
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))


def is_host_tag(tag: str) -> bool:
    """Whether a tag is that of a workload's newest checkpoint for one class of hosts."""
    return bool(_HOST_TAG.fullmatch(tag))


def is_checkpoint_tag(tag: str) -> bool:
    """Whether a tag is that of one checkpoint."""
    return bool(_CHECKPOINT_TAG.fullmatch(tag))


def signed_by_tag(tag: str) -> str:
    """The digest of the manifest whose signatures a tag holds; "" for another tag."""
    found = _SIGNATURE_TAG.fullmatch(tag)
    return f"sha256:{found[1]}" if found else ""


def digest(content: bytes | bytearray) -> str:
    """Of a blob, in the form of OCI."""
    return digest_of((content,))


def digest_of(pieces: Iterable[bytes | bytearray]) -> str:
    """Of a blob in pieces."""
    state = hashlib.sha256()
    for piece in pieces:
        state.update(piece)
    return f"sha256:{state.hexdigest()}"


def key_tag(key_digest: str) -> str:
    """The newest checkpoint of a workload, whatever host it needs."""
    return key_digest[:_KEY_DIGITS]


def host_tag(key_digest: str, host_class: str) -> str:
    """The newest checkpoint of a workload for hosts of one class: what a node looks up first."""
    return f"{key_tag(key_digest)}-{host_class}"


def checkpoint_tag(checkpoint: str) -> str:
    """One checkpoint, also when there is a newer one of its workload."""
    return f"c-{checkpoint}"


def signature_tag(manifest_digest: str) -> str:
    """Where cosign keeps the signatures of a manifest: sha256-HEX.sig in the same repository."""
    return f"{manifest_digest.replace(':', '-')}.sig"


def referrers_tag(manifest_digest: str) -> str:
    """The index of referrers where a registry has no referrers API (distribution-spec, Referrers Tag Schema)."""
    return manifest_digest.replace(":", "-")


def host_class(needs: HostRequirements) -> str:
    """One word for the facts of a host that must be equal: two node pools do not take each other's tag.

    A checkpoint without a GPU has the same class whatever driver its node had.
    """
    facts: list[object] = [
        needs.arch,
        needs.xsave_bytes,
        _numbers(needs.kernel, 2),
        _numbers(needs.criu, 1),
        needs.image_format,
        needs.page_bytes,
        needs.cgroup,
        needs.gpu_count,
    ]
    if needs.gpu_count != 0:
        facts += [list(needs.gpu_products or ()), list(needs.gpu_compute or ()), needs.gpu_mig, needs.driver]
    text = json.dumps(facts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_CLASS_DIGITS]


def _numbers(version: str | None, count: int) -> list[str]:
    return re.findall(r"[0-9]+", version or "")[:count]
