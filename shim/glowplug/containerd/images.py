"""An image's config blob (OCI image spec, config.md), as far as Glowplug looks at it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from glowplug.errors import ContainerdError


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of the process that it is for. `env` may hold anything: it is not shown."""

    architecture: str
    os: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[str, ...] = field(repr=False)
    working_dir: str
    user: str
    volumes: tuple[str, ...]
    stop_signal: str
    labels: Mapping[str, str]
    diff_ids: tuple[str, ...]


def image_config(digest: str, blob: bytes) -> ImageConfig:
    """Reads an image's config blob. Raises ContainerdError where it is none."""
    try:
        image = json.loads(blob)
        config = image.get("config") or {}
        return ImageConfig(
            architecture=image["architecture"],
            os=image["os"],
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            env=tuple(config.get("Env") or ()),
            working_dir=config.get("WorkingDir") or "",
            user=config.get("User") or "",
            volumes=tuple(sorted(config.get("Volumes") or ())),
            stop_signal=config.get("StopSignal") or "",
            labels=config.get("Labels") or {},
            diff_ids=tuple(image["rootfs"]["diff_ids"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContainerdError(f"{digest} is not an OCI image config") from error
