"""What a node has checkpoints of, as far as its labels say: namespace and image."""

from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.errors import CacheError, ManifestError

EVERY_NAMESPACE = "*"
"""Stands for the namespace of a checkpoint that its owner shares with all."""


class CachedWorkloads:
    """Reads each manifest once: a published checkpoint never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[str, str] | None] = {}

    def images(self) -> list[tuple[str, str]]:
        """(namespace, image) of each checkpoint that is not quarantined, the latest used first. Raises CacheError."""
        try:
            rows = sorted(self._store.rows(), key=lambda row: row.last_used, reverse=True)
        except OSError as error:
            raise CacheError(f"the cache can't be read for the node's labels: {error}") from error
        self._known = {row.id: self._known.get(row.id) or self._read(row.id) for row in rows}
        found = (self._known[row.id] for row in rows if row.quarantine is None)
        return [one for one in found if one is not None]

    def _read(self, checkpoint: str) -> tuple[str, str] | None:
        """None: damaged, gone meanwhile, or of a newer version."""
        try:
            manifest = manifests.loads(self._store.manifest(checkpoint))
        except (CacheError, ManifestError):
            return None
        return (EVERY_NAMESPACE if manifest.shared else manifest.namespace), manifest.image_name
