"""Every error that Glowplug raises on purpose.

A message says what is wrong and what to do; it never has an env value or a secret in it.
One class per package, so that a caller can say whose failure it was.
"""


class GlowplugError(Exception):
    """Something that Glowplug could not do. The message is fit for a person."""


class UsageError(GlowplugError):
    """The caller's input is wrong; nothing was touched. The CLI exits with status 2."""


class ManifestError(GlowplugError):
    """A manifest that is no manifest, or one of a version that this Glowplug does not read."""


class CacheError(GlowplugError):
    """The store can't do what was requested: no space, no such checkpoint, in use."""


class NoSpace(CacheError):
    """The cache has no space for it at this moment."""


class DamagedCheckpoint(CacheError):
    """A file of a checkpoint is missing, has another size or another digest: the checkpoint's own fault."""


class UnknownDigest(CacheError):
    """A checkpoint has digests of an algorithm that this Glowplug does not know: nothing can be said of it."""


class ImageError(GlowplugError):
    """CRIU image files that can't be read or rewritten."""


class LayerError(GlowplugError):
    """A writable layer or shared-memory file that can't be captured, applied or undone."""


class CriuError(GlowplugError):
    """CRIU is missing, too old, or failed."""


class NotForced(CriuError):
    """A restored process took no write by force, though the kernel lets us write so: something else on this node is
    against it."""


class NotRestorable(CriuError):
    """A fresh checkpoint whose trial failed through its own fault: it is not published."""

    slug = "not-restorable"


class RuncError(GlowplugError):
    """runc is missing or failed."""


class ContainerdError(GlowplugError):
    """containerd can't be reached, or lacks the container."""


class HostError(GlowplugError):
    """A fact of this node that can't be read."""


class NodeError(GlowplugError):
    """The handler can't be put on this node or taken off it; what was changed was put back."""


class CudaError(GlowplugError):
    """A call of the CUDA driver's checkpoint API failed or timed out."""


class CaptureRefused(UsageError):
    """A capture that is not to be: nothing of the container was touched. `slug`: why, in a word."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug


class KubernetesError(GlowplugError):
    """The API server can't be reached, or refuses."""


class HookError(GlowplugError):
    """What a pod wants done around a capture or a restore, and could not be."""


class CanaryError(HookError):
    """A copy answers otherwise than the process that it is a copy of."""


class RegistryError(GlowplugError):
    """A registry can't be reached, refuses, or fails: nothing is known of what it holds, or it took nothing."""


class RegistryMiss(RegistryError):
    """What a registry holds does not serve: not there, not trusted, damaged, for another host. `slug` says which."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug
