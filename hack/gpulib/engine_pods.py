"""Pods of a real containerd that run a stock inference engine, for the checks (h) to (l)."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hack.gpulib import cri, netns, spec
from hack.gpulib.pods import REPOSITORY, WORKLOADS, Failed
from hack.gpulib.setup import HANDED_THROUGH, Setup
from integration.captured import records
from integration.kubelet import PodDirectory
from integration.node import Node
from integration.oci_archive import ImageConfig, LayerTar, write_archive
from integration.pods import Container, Pod, Pods

from glowplug.config import Config
from glowplug.containerd.cri_specs import Device, Mount

if TYPE_CHECKING:
    from hack.gpulib.engines import Options

PROGRAMS = cri.PROGRAMS
IMAGE = "glowplug.test/engine:{}"
PORT = 8000
CACHE = "/root/.cache"
CACHES = {
    "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/inductor",
    "TRITON_CACHE_DIR": f"{CACHE}/triton",
    "TVM_FFI_CACHE_DIR": f"{CACHE}/tvm-ffi",
    "CUDA_CACHE_PATH": f"{CACHE}/nv",
    "HF_HOME": f"{CACHE}/hf",
}
ENV = {
    "HF_HUB_OFFLINE": "1",
    "MAXLEN": "4096",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TMPDIR": "/tmp",
    "USER": "root",
    "VLLM_LOGGING_LEVEL": "INFO",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",
}
SEVERAL_GPUS = {"NCCL_P2P_DISABLE": "1", "NCCL_CUMEM_ENABLE": "0", "NCCL_CUMEM_HOST_ENABLE": "0"}
PROMPT = [5, 17, 99, 200, 31]
TOKENS = 16
VLLM = (
    "/v1/completions",
    {
        "model": "m",  # the name under which serve.sh serves any model
        "prompt": PROMPT,
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": 1,
        "return_tokens_as_token_ids": True,
    },
)
SGLANG = (
    "/generate",
    {
        "input_ids": PROMPT,
        "sampling_params": {"max_new_tokens": TOKENS, "temperature": 0, "ignore_eos": True},
        "return_logprob": True,
    },
)
LOOPBACK = "/etc/vllm-loopback"
LOADER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/nsswitch.conf")
ASKED_S = 60.0
POLL_S = 0.01


class Place:
    """A node of its own, with an image for the engine. Use as a context."""

    def __init__(self, setup: Setup, engine: str, pack: str, model: str, chosen: Options) -> None:
        self.setup = setup
        self.engine = engine
        self.pack = pack
        self.model = model
        self.chosen = chosen
        self.has_middleware = engine == "vllm" and not setup.fake
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Place:
        try:
            self._begin()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self) -> None:
        before = tempfile.tempdir
        tempfile.tempdir = os.path.dirname(
            self.setup.node.state
        )  # where the node's state, checkpoints too, lies
        self._open.callback(setattr, tempfile, "tempdir", before)
        floor = "min_free_bytes" if "min_free_bytes" in Config.__dataclass_fields__ else "free_floor_bytes"
        found = shutil.which("criu", path=self.setup.node.env["PATH"])
        self.node = self._open.enter_context(Node(settings={"criu": found, floor: 1 << 30}))
        self._open.callback(self._show_agent)
        self._base = f"{self.node.names.state}/base.tar"
        _make_base(self._base)
        self._image = self._import("base", [self._base])
        self.node.start_agent()
        self._pods = Pods(self.node)
        self._open.callback(self._pods.remove_all)

    def _show_agent(self) -> None:
        """The agent's last words, where something went wrong."""
        if sys.exc_info()[0] is not None:
            with open(f"{self.node.names.state}/agent.log", errors="replace") as log:
                self.chosen.say("agent", log=log.read()[-3000:])

    def pod(self, gpus: list[str], *, capture: str) -> EnginePod:
        """A new pod; not started yet."""
        return EnginePod(self, gpus, capture)

    def run(self, annotations: dict[str, str]) -> Pod:
        return self._pods.run(self.engine, annotations=annotations)

    def fields(self, pod: Pod, gpus: list[str]) -> dict[str, Any]:
        """The fields of ContainerSpec."""
        if self.setup.fake:
            made = self.setup.workload("engine", "engine.py", env={"ENGINE_WEIGHTS": self.chosen.weights})
            given, args, env = made.devices, made.args, made.env
            mounts = [
                Mount(container_path=one["destination"], host_path=one["source"], readonly=True)
                for one in made.mounts
            ]
        else:
            given = [spec.device(path) for path in spec.nvidia_nodes(gpus)]
            args, env = self._args(len(gpus)), self._env(len(gpus))
            mounts = [Mount(container_path="/weights", host_path=self.model, readonly=True)]
        directory = PodDirectory(self.node, pod.spec.uid)
        if self.has_middleware:
            mounts.append(directory.config_map("loopback", {"loopback.py": middleware()}, LOOPBACK))
        host = [WORKLOADS, *cri.host_directories()]
        mounts += [
            Mount(container_path="/check" if path == WORKLOADS else path, host_path=path, readonly=True)
            for path in host
        ]
        return {
            "image": self._image,
            "command": tuple(args),
            "env": {**env, "CASE": os.path.basename(self.node.names.state)},
            "devices": tuple(self._device(one) for one in given),
            "mounts": tuple(mounts),
        }

    def _args(self, gpus: int) -> list[str]:
        chosen = self.chosen
        serve = ["/bin/bash", f"{self.pack}/serve.sh", "/weights", "--sleep", "--", "--host", "0.0.0.0"]
        if self.engine == "sglang":
            serve += ["--mem-fraction-static", chosen.memory]
            serve += ["--enable-weights-cpu-backup"] if chosen.weights == "keep" else []
            return [*serve, *chosen.more]
        serve += ["--gpu-memory-utilization", chosen.memory, "--middleware", "loopback.LoopbackOnly"]
        if chosen.weights == "reload" and chosen.load_format:
            serve += ["--load-format", chosen.load_format]
        if gpus > 1:
            serve += ["--tensor-parallel-size", str(gpus), "--disable-custom-all-reduce"]
        return [*serve, *chosen.more]

    def _env(self, gpus: int) -> dict[str, str]:
        handed = {name: os.environ[name] for name in HANDED_THROUGH if name in os.environ}
        several = SEVERAL_GPUS if gpus > 1 else {}
        return {**handed, **CACHES, **ENV, **several, "PY": sys.executable, "PYTHONPATH": LOOPBACK}

    def _device(self, entry: dict[str, Any]) -> Device:
        path = entry["path"]
        if not os.path.exists(path):  # the fake driver's: no such node on this host
            path = f"{self.node.names.state}/{os.path.basename(path)}"
            if not os.path.exists(path):
                os.mknod(path, entry["fileMode"], os.makedev(entry["major"], entry["minor"]))
        return Device(container_path=entry["path"], host_path=path)

    def caches_of(self, pod: EnginePod, kept: str) -> str:
        """A layer with what this pod has compiled; `kept`: a directory that it stays in, or ""."""
        layer = f"{kept or self.node.names.state}/{self.engine}.tar"
        os.makedirs(os.path.dirname(layer), exist_ok=True)
        root = f"/proc/{pod.container.pid}/root"
        with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
            if os.path.isdir(f"{root}{CACHE}"):
                tar.add(f"{root}{CACHE}", CACHE.lstrip("/"), filter=_without_sockets)
        return layer

    def bake(self, layer: str) -> None:
        """From now on pods have an image with this layer: their caches are warm."""
        self._image = self._import("warm", [self._base, layer])
        self.chosen.say("caches", bytes=os.path.getsize(layer))

    def _import(self, tag: str, layers: list[str]) -> str:
        archive = f"{self.node.names.state}/{tag}-image.tar"
        reference = IMAGE.format(tag)
        config = ImageConfig(["/usr/bin/true"], {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"})
        write_archive(archive, reference, layers, config)
        self.node.import_image(archive, reference)
        os.unlink(archive)
        return reference


class EnginePod:
    """One pod with the engine. A context: removed in the end."""

    def __init__(self, place: Place, gpus: list[str], capture: str) -> None:
        self.place = place
        engine = "vllm" if place.engine == "vllm" else f"{place.engine}:{PORT}"
        path, question = SGLANG if self._speaks_sglang else VLLM
        said = {
            "capture": capture,
            "engine": engine,
            "weights": place.chosen.weights,
            "hook-timeout": "2m",
            "weights-path": "/weights",  # not the host's /usr and /opt, which are mounted too
            "canary": f"http-post://:{PORT}{path}",
            "canary-body": json.dumps(question),
        }
        self._pod = place.run({f"glowplug.dev/{name}": text for name, text in said.items()})
        self._gpus = gpus
        self._pid = 0

    def __enter__(self) -> EnginePod:
        directory = PodDirectory(self.place.node, self._pod.spec.uid)
        fields = self.place.fields(self._pod, self._gpus)
        self._shm = ""
        if len(self._gpus) > 1:  # NCCL wants more than the 64 MiB that CRI gives
            mount = directory.empty_dir("shm", "/dev/shm")
            self._shm = mount.host_path
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=8g,mode=1777", "shm", self._shm], check=True, timeout=30
            )
            fields["mounts"] = (*fields["mounts"], mount)
        self.container: Container = self._pod.container(self.place.engine, **fields)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.place.chosen.say("log", engine=self.log())
        self._pod.remove()
        if self._shm:
            subprocess.run(["umount", self._shm], check=True, timeout=30)

    def start(self) -> None:
        """StartContainer: a cold start or a restore, whichever the runtime makes of it."""
        self.container.start()
        self._pid = self.container.pid

    def log(self) -> str:
        """The end of what the engine wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(line.text for line in self.container.log())[-3000:]
        return ""

    def wait_healthy(self, within_s: float) -> None:
        """Until /health is 200. Raises Failed with the end of its log."""
        self._wait(lambda: self.call("GET", "/health", within_s=5)[0] == 200, within_s, "/health to answer")

    def wait_awake(self, within_s: float) -> None:
        """Until the engine says that it is awake; of SGLang, which has no such route, until the agent says so."""
        if self.place.engine == "sglang" and self.outcome().get("outcome") == "restored":
            self.event("after-restore", within_s)
        elif self.place.engine == "vllm":
            self._wait(self._is_awake, within_s, "it to be awake")

    def _is_awake(self) -> bool:
        status, body = self.call("GET", "/is_sleeping", within_s=30)
        return status == 200 and json.loads(body) == {"is_sleeping": False}

    def answer(self, within_s: float) -> dict[str, Any]:
        """Token ids, their log-probabilities and the text, for one fixed question. Raises Failed."""
        ask = _ask_sglang if self._speaks_sglang else _ask_vllm
        try:
            return ask(self, within_s)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failed(f"no answer to the question: {error!r}") from error

    def text(self, within_s: float) -> str:
        """The text alone, as most clients ask for it. Raises Failed."""
        path, question = SGLANG if self._speaks_sglang else VLLM
        asked = {
            name: value
            for name, value in question.items()
            if "logprob" not in name and "tokens_as" not in name
        }
        try:
            _, body = self.call("POST", path, asked, within_s)
            answer = json.loads(body)
            return str(answer["text"] if self._speaks_sglang else answer["choices"][0]["text"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failed(f"no answer to the question: {error!r}") from error

    @property
    def _speaks_sglang(self) -> bool:
        return self.place.engine == "sglang" and not self.place.setup.fake

    def restore_log(self) -> dict[str, int]:
        """Bytes and lines of CRIU's log of the restore."""
        pattern = f"{self.place.node.names.state}/state/**/{self.container.id}/**/restore.log"
        for path in glob.glob(pattern, recursive=True):
            with open(path, "rb") as log:
                content = log.read()
            return {"bytes": len(content), "lines": content.count(b"\n")}
        return {}

    def call(
        self, method: str, path: str, body: Any = None, within_s: float = ASKED_S, address: str = "127.0.0.1"
    ) -> tuple[int, bytes]:
        """Status and body of one request, made in the pod's network. Raises OSError."""
        connection = netns.Connected(netns.connect(self._pid, within_s, PORT, address))
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except netns.HTTPException as error:
            raise OSError(f"{path}: {error!r}") from error
        finally:
            connection.close()

    def status_from_outside(self, path: str) -> int:
        """As another pod asks: at the pod's own address, from one that is not the loopback."""
        return self.call("GET", path, within_s=10, address=self._pod.ip)[0]

    def outcome(self) -> dict[str, Any]:
        """How this container was started."""
        return self._record(lambda one: "outcome" in one, 10, "its outcome")

    def event(self, kind: str, within_s: float) -> dict[str, Any]:
        """The agent's word of this pod's capture, or of its hook after the restore. Raises Failed."""
        return self._record(lambda one: one.get("event") == kind, within_s, f"the event {kind}")

    def _record(self, fits: Callable[[dict[str, Any]], bool], within_s: float, what: str) -> dict[str, Any]:
        uid = self._pod.spec.uid

        def found() -> dict[str, Any] | None:
            mine = (one for one in records(self.place.node) if one.get("pod_uid") == uid and fits(one))
            return next(mine, None)

        made = self._wait(found, within_s, what)
        return dict(made)

    def _wait(self, condition: Callable[[], Any], within_s: float, what: str) -> Any:
        """The condition's first true value; an OSError of it is a no. Raises Failed."""
        until = time.monotonic() + within_s
        look = time.monotonic() + 1
        while True:
            with contextlib.suppress(OSError, ValueError):
                if found := condition():
                    return found
            if time.monotonic() > until:
                raise Failed(
                    f"waited {within_s:.0f} s for {what} in vain; the log ends: {self.log()[-1500:]}"
                )
            if time.monotonic() > look:
                look = time.monotonic() + 1
                if (status := self.container.status()).state == "exited":
                    raise Failed(
                        f"waited for {what}, the container ended: {status}; its log ends: {self.log()[-1500:]}"
                    )
            time.sleep(POLL_S)


def _ask_vllm(pod: EnginePod, within_s: float) -> dict[str, Any]:
    status, body = pod.call("POST", *VLLM, within_s)
    if status != 200:
        raise Failed(f"{VLLM[0]}: {status} {body[:300]!r}")
    choice = json.loads(body)["choices"][0]
    found = choice["logprobs"]
    return {"ids": found["tokens"], "logprobs": found["token_logprobs"], "text": choice["text"]}


def _ask_sglang(pod: EnginePod, within_s: float) -> dict[str, Any]:
    status, body = pod.call("POST", *SGLANG, within_s)
    if status != 200:
        raise Failed(f"{SGLANG[0]}: {status} {body[:300]!r}")
    answer = json.loads(body)
    found = answer["meta_info"]["output_token_logprobs"]
    return {"ids": [one[1] for one in found], "logprobs": [one[0] for one in found], "text": answer["text"]}


def middleware() -> str:
    """The file that docs/examples mounts from a ConfigMap."""
    with open(f"{REPOSITORY}/docs/examples/vllm-loopback.yaml") as file:
        block = file.read().split("loopback.py: |\n", 1)[1].split("\n---", 1)[0]
    return "\n".join(line[4:] for line in block.splitlines()) + "\n"


def _make_base(layer: str) -> None:
    """What an image of the engine has besides the host's /usr and /opt."""
    with LayerTar(layer) as tar:
        for name in (*cri.SKELETON, "weights", LOOPBACK.lstrip("/"), "etc/alternatives"):
            tar.directory(name)
        for name in ("bin", "sbin", "lib", "lib64"):
            tar.link(name, f"usr/{name}")
        tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        tar.file("etc/group", b"root:x:0:\n")
        for path in LOADER_FILES:
            if os.path.exists(path):
                with open(path, "rb") as file:
                    tar.file(path.lstrip("/"), file.read())
        for entry in os.scandir("/etc/alternatives") if os.path.isdir("/etc/alternatives") else ():
            if entry.is_symlink():
                tar.link(f"etc/alternatives/{entry.name}", os.readlink(entry.path))


def _without_sockets(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isfile() or entry.isdir() or entry.issym() or entry.islnk() else None
