"""Compile caches that a cold start finds again: what a pod asks for, where they are, and what they are kept by. Pure.

An engine compiles kernels for its model, its GPU and its libraries, and keeps them in files. A pod that says
`glowplug.dev/compile-cache: node` finds them at its next cold start on the node: those of a container with the same
workload key, in the same Kubernetes namespace, on a node with the same row of what code is compiled for.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.eligible import COMPILE_CACHE
from glowplug.checkpoint.key import keyed
from glowplug.checkpoint.requirements import HostRequirements

NAME = "compile-cache"
FORM = "node, or node: and absolute directories of the container, with commas between them"
LONGEST = 4096

HOST = (
    "arch",
    "cpu_features",
    "gpu_count",
    "gpu_products",
    "gpu_compute",
    "gpu_mig",
    "driver",
    "cuda_libraries",
)
"""What compiled code is compiled for, of all that a checkpoint needs of a node."""

_UNKNOWN_IS_FINE = frozenset(("cuda_libraries",))

# Variable that names the directory, what it has below it, and where it is without the variable. Sources: vLLM
# envs.py; torch/_inductor/runtime/cache_dir_utils.py; triton/knobs.py; flashinfer/jit/env.py; sglang environ.py;
# deep_gemm/jit; tvm_ffi; torch/utils/cpp_extension.py; CUDA Programming Guide, "Environment Variables".
PLACES = (
    ("VLLM_CACHE_ROOT", "", "$XDG_CACHE_HOME/vllm"),
    ("TORCHINDUCTOR_CACHE_DIR", "", "$TMPDIR/torchinductor_*"),
    ("TRITON_CACHE_DIR", "", "$TRITON_HOME/.triton/cache"),
    ("FLASHINFER_WORKSPACE_BASE", "/.cache/flashinfer", "$HOME/.cache/flashinfer"),
    ("SGLANG_CACHE_DIR", "", "$HOME/.cache/sglang"),
    ("SGLANG_DG_CACHE_DIR", "", "$HOME/.cache/deep_gemm"),
    ("DG_JIT_CACHE_DIR", "", "$HOME/.deep_gemm"),
    ("TVM_FFI_CACHE_DIR", "", "$HOME/.cache/tvm-ffi"),
    ("TORCH_EXTENSIONS_DIR", "", "$XDG_CACHE_HOME/torch_extensions"),
    ("PYTORCH_KERNEL_CACHE_PATH", "", "$XDG_CACHE_HOME/torch/kernels"),
    ("TILELANG_CACHE_DIR", "", "$HOME/.tilelang/cache"),
    ("CUDA_CACHE_PATH", "", "$HOME/.nv/ComputeCache"),
)


def requested(facts: BundleFacts) -> tuple[str, ...] | None:
    """Directories that the pod adds to PLACES; None where it asks for nothing. Raises ValueError with the form."""
    text = facts.annotations.get(
        f"{COMPILE_CACHE}.{facts.container_name}", facts.annotations.get(COMPILE_CACHE, "")
    )
    return parse(text.strip()) if text.strip() else None


def parse(text: str) -> tuple[str, ...]:
    """The directories in an annotation's value. Raises ValueError with the form."""
    where, colon, rest = text.partition(":")
    paths = tuple(path.strip().rstrip("/") for path in rest.split(",")) if colon else ()
    if where.strip() != "node" or len(text) > LONGEST or not all(_is_plain(path) for path in paths):
        raise ValueError(FORM)
    return paths


def _is_plain(path: str) -> bool:
    """An absolute path below the root that has no "..", and no character that an index could not contain."""
    names = path.split("/")
    return names[0] == "" and len(names) > 1 and path.isprintable() and not {"", ".", ".."} & set(names[1:])


def directories(env: Mapping[str, str], home: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Where the engines keep theirs, and `more`. `home`: of the container's user. The last name may end with `*`."""
    variables = {
        "HOME": home,
        "XDG_CACHE_HOME": env.get("XDG_CACHE_HOME") or f"{home}/.cache",
        "TMPDIR": env.get("TMPDIR") or "/tmp",  # the container's
        "TRITON_HOME": env.get("TRITON_HOME") or home,
    }
    found = set(more)
    for variable, below, otherwise in PLACES:
        path = f"{env[variable]}{below}" if env.get(variable) else otherwise
        name, slash, rest = path.partition("/")
        if name.startswith("$"):
            path = f"{variables[name[1:]]}{slash}{rest}"
        elif name == "~":
            path = f"{home}{slash}{rest}"
        path = (
            "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
            if path[:1] == "/"
            else ""
        )
        if _is_plain(path):
            found.add(path)
    return tuple(path for path in sorted(found) if not any(path.startswith(f"{one}/") for one in found))


def name(salt: bytes, namespace: str, key_digest: str, row: HostRequirements) -> str | None:
    """Under which they are kept: a keyed hash. None where something significant is unknown."""
    plain = {fact: value for fact, value in asdict(row).items() if fact in HOST}
    if not key_digest or any(value is None for fact, value in plain.items() if fact not in _UNKNOWN_IS_FINE):
        return None
    return keyed(salt, NAME, namespace, key_digest, json.dumps(plain, sort_keys=True))
