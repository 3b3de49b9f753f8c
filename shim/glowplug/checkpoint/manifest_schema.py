"""The form of a manifest, as the JSON Schema (draft 2020-12) that docs/manifest.schema.json publishes."""

from glowplug.checkpoint.schema import Schema

VERSION = 1
MOST = (1 << 63) - 1


def _record(about: str, optional: tuple[str, ...] = (), **fields: Schema) -> dict[str, object]:
    return {
        "type": "object",
        "description": about,
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> dict[str, object]:
    return {**schema, "type": [schema["type"], "null"]}


def _list(schema: Schema, about: str = "") -> dict[str, object]:
    return {"type": "array", "items": schema, "minItems": 0, "maxItems": 1 << 20} | _about(about)


def _table(schema: Schema, about: str = "") -> dict[str, object]:
    return {"type": "object", "additionalProperties": schema} | _about(about)


def _about(text: str) -> dict[str, object]:
    return {"description": text} if text else {}


def _text(about: str = "", pattern: str = "") -> dict[str, object]:
    return {"type": "string"} | _about(about) | ({"pattern": pattern} if pattern else {})


def _integer(about: str = "", least: int = 0, most: int = MOST) -> dict[str, object]:
    return {"type": "integer", "minimum": least, "maximum": most} | _about(about)


def _seconds(about: str) -> dict[str, object]:
    return {"type": "number", "minimum": 0, "maximum": 1e9, "description": about}


FLAG: Schema = {"type": "boolean"}
TEXTS = _list({"type": "string"})
PATH = r"^(?![\s\S]*(^|/)\.{1,2}(/|$))[^/\x00]+(/[^/\x00]+)*$"
_HEX = _text("a capability set as /proc/PID/status writes it", r"^[0-9a-f]{16}$")
_FOUR = {"type": "array", "items": _integer(), "minItems": 4, "maxItems": 4}

PROCESS = _record(
    "one process, as /proc said when it was frozen",
    pid=_integer("in the container's PID namespace", 1),
    parent=_integer("0 for the first"),
    comm=_text(),
    uids={**_FOUR, "description": "real, effective, saved, file system"},
    gids={**_FOUR, "description": "real, effective, saved, file system"},
    groups=_list(_integer(), "additional groups"),
    capabilities=_record(
        "sets", inheritable=_HEX, permitted=_HEX, effective=_HEX, bounding=_HEX, ambient=_HEX
    ),
    no_new_privileges=FLAG,
    seccomp=_integer("0 off, 1 strict, 2 filter", 0, 2),
    limits=_table({"type": "string"}, "resource limits by the kernel's names, soft:hard"),
    label=_text("of the LSM: AppArmor profile, SELinux context; empty without one"),
    cuda={**FLAG, "description": "whether it used CUDA"},
)
FILE = _record(
    "one file of the checkpoint; its path is the entry's name",
    kind=_text("what it is", r"^(image|pages|memory|layer|shm)$"),
    size=_integer("bytes"),
    digest=_text(
        "small images by the standard library's hash, checked at each restore; others by the fast one; files over "
        "64 MiB by that of their blocks' digests, which blocks.json lists",
        r"^(blake2b-256|blake3|blake3-64m):[0-9a-f]{64}$",
    ),
)
REQUIREMENTS = _record(
    "what the process needs of a node (docs/matching.md); null: not known, which fits no node",
    ("cpus", "memory_nodes", "pids_limit"),
    arch=_or_null(_text()),
    cpu_features=_or_null(TEXTS),
    xsave_bytes=_or_null(_integer()),
    kernel=_or_null(_text()),
    criu=_or_null(_text()),
    image_format=_or_null(_text()),
    page_bytes=_or_null(_integer()),
    cgroup=_or_null(_text()),
    memory_limit=_or_null(_integer("bytes; -1: none", -1)),
    cpu_limit=_or_null(_integer("thousandths of a CPU; -1: none", -1)),
    cpus=_or_null(_integer("number of CPUs that the spec pins it to; -1: any", -1)),
    memory_nodes=_or_null(_integer("number of NUMA nodes that the spec pins its memory to; -1: any", -1)),
    pids_limit=_or_null(_integer("-1: none", -1)),
    gpu_count=_or_null(_integer()),
    gpu_products=_or_null(TEXTS),
    gpu_memory_bytes=_or_null(_integer("of the smallest")),
    gpu_compute=_or_null(TEXTS),
    gpu_mig=_or_null(FLAG),
    driver=_or_null(_text()),
    cuda_libraries=_or_null(TEXTS),
)
SIZES = _record(
    "bytes by part",
    cpu_memory=_integer("of the processes, without what came from the GPU"),
    gpu_memory=_integer("device memory, kept in host memory by the driver"),
    layer=_integer("writable layer, carried volumes"),
    shm=_integer("/dev/shm files"),
    images=_integer("CRIU's images without memory"),
)
MEASURED = _record(
    "what was measured; null: not measured",
    cold_start_s=_or_null(_seconds("from start to ready of the captured container's own cold start")),
    pause_s=_or_null(_seconds("how long the container was paused")),
    dump_s=_or_null(_seconds("CRIU's part of it")),
)
LAYER = _record("the writable layer", files=_integer(), bytes=_integer())
GPU = _record(
    "one GPU that was assigned to the container (NVML); another of its kind may serve a restore",
    uuid=_text(),
    product=_text(),
    memory_bytes=_integer(),
    compute_capability=_text(),
    mig=FLAG,
)
KEY = _record(
    "the workload key: blake2b-256 over its parts; secrets in it are keyed hashes",
    ("conditions",),
    digest=_text("", r"^[0-9a-f]{64}$"),
    parts={"type": "object", "description": "part name → value (docs/matching.md)"},
    conditions={
        "type": "object",
        "description": "what a container must agree on besides the digest (docs/matching.md); none before rules 3",
    },
)
MANIFEST: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://glowplug.dev/manifest.schema.json",
    "title": "Glowplug checkpoint manifest",
    **_record(
        "manifest.json of a checkpoint; the checkpoint's name is the start of this file's blake2b-256",
        ("gpus",),
        version={"type": "integer", "enum": [VERSION]},
        created=_text("UTC", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
        namespace=_text("Kubernetes namespace of the capture, the only one served unless shared", r"^[\s\S]"),
        pod=_text(),
        container=_text(),
        node=_text(),
        shared={**FLAG, "description": "glowplug.dev/share: cluster at the capture"},
        image_name=_text("informative: a tag says nothing about what is restored"),
        key=KEY,
        requirements=REQUIREMENTS,
        processes={**_list(PROCESS), "minItems": 1},
        files={**_table(FILE), "propertyNames": {"type": "string", "pattern": PATH}},
        sizes=SIZES,
        measured=MEASURED,
        layer=LAYER,
        settings=_table(_text(), "annotations of glowplug.dev/ without a secret"),
        gpus=_list(GPU, "none where it is absent"),
    ),
}
