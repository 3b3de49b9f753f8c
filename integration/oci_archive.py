"""OCI image archives (image-spec, image layout) made from layer tars: deterministic, no registry."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of its process (image-spec, config.md)."""

    entrypoint: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = "/"
    volumes: Sequence[str] = ()
    cmd: Sequence[str] = ()


class LayerTar:
    """Writes one layer. Entries come in the order of the calls and belong to root, times as passed."""

    def __init__(self, path: str) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._seen: set[str] = set()

    def __enter__(self) -> "LayerTar":
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def directory(self, name: str, mode: int = 0o755) -> None:
        """With its parents; a second call for the same name does nothing."""
        if not name or name in self._seen:
            return
        self.directory(os.path.dirname(name))
        self._seen.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(entry)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self.directory(os.path.dirname(name))
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self._seen.add(name)
        self._tar.addfile(entry)

    def file(self, name: str, content: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        """A regular file."""
        self.directory(os.path.dirname(name))
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = len(content), mode, mtime
        self._tar.addfile(entry, io.BytesIO(content))

    def copy(self, name: str, source: str) -> None:
        """A file or symbolic link of this machine, with its mode and modification time."""
        status = os.lstat(source)
        if os.path.islink(source):
            self.link(name, os.readlink(source))
        elif os.path.isdir(source):
            self.directory(name, status.st_mode & 0o7777)
        else:
            with open(source, "rb") as file:
                self.file(name, file.read(), status.st_mode & 0o7777, int(status.st_mtime))

    def tree(self, name: str, source: str) -> None:
        """A directory of this machine with all below it, in the order of names."""
        for parent, directories, files in os.walk(source):
            directories.sort()
            below = os.path.normpath(os.path.join(name, os.path.relpath(parent, source)))
            for entry in sorted(files + [each for each in directories if os.path.islink(f"{parent}/{each}")]):
                self.copy(f"{below}/{entry}", f"{parent}/{entry}")


def write_archive(path: str, reference: str, layers: Sequence[str], config: ImageConfig) -> str:
    """Write an image archive that `ctr images import` takes; the image's name is `reference`.

    `layers`: uncompressed layer tars, lowest first. Returns the digest of the image's config, its ID.
    """
    with tarfile.open(path, "w") as archive:
        layer_descriptors = [_add_file(archive, LAYER, layer) for layer in layers]
        architecture = os.uname().machine
        config_descriptor = _add_json(
            archive,
            CONFIG,
            {
                "architecture": ARCHITECTURES.get(architecture, architecture),
                "os": "linux",
                "config": {
                    "Entrypoint": list(config.entrypoint),
                    **({"Cmd": list(config.cmd)} if config.cmd else {}),
                    "Env": [f"{name}={value}" for name, value in config.env.items()],
                    "User": config.user,
                    "WorkingDir": config.working_dir,
                    "Volumes": {path: {} for path in config.volumes},
                },
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layer_descriptors]},
            },
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_descriptor,
            "layers": layer_descriptors,
        }
        manifest_descriptor = _add_json(archive, MANIFEST, manifest)
        manifest_descriptor["annotations"] = {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest_descriptor]}
        _add(archive, "index.json", json.dumps(index).encode())
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    return str(config_descriptor["digest"])


def _add_json(archive: tarfile.TarFile, media_type: str, value: object) -> dict[str, object]:
    content = json.dumps(value, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    _add(archive, f"blobs/sha256/{digest}", content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _add_file(archive: tarfile.TarFile, media_type: str, path: str) -> dict[str, object]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
        entry.size = size
        archive.addfile(entry, file)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}
