"""Pods of a real containerd that run a stock inference engine, for the checks (h) to (l)."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hack.gpulib import cri, engine_images, netns, spec
from hack.gpulib import engine_questions as questions
from hack.gpulib.engine_images import CACHE, LOOPBACK
from hack.gpulib.pods import WORKLOADS, Failed
from hack.gpulib.setup import PASSED_THROUGH, Setup
from integration.captured import records
from integration.kubelet import PodDirectory
from integration.node import Node
from integration.oci_archive import ImageConfig, write_archive
from integration.pods import Container, Pod, Pods

from integration.cri_specs import Device, Mount

if TYPE_CHECKING:
    from hack.gpulib.engines import Options

PROGRAMS = cri.PROGRAMS
IMAGE = "glowplug.test/engine:{}"
PORT = 8000
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
ANSWER_WITHIN_S = 60.0
POLL_S = 0.01

Answer = TypeVar("Answer")


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
        )  # where the node's state, checkpoints too, is
        self._open.callback(setattr, tempfile, "tempdir", before)
        found = shutil.which("criu", path=self.setup.node.env["PATH"])
        self.node = self._open.enter_context(Node(settings={"criu": found, "min_free_bytes": 1 << 30}))
        self._open.callback(self._show_agent)
        self._base = f"{self.node.names.state}/base.tar"
        engine_images.make_base(self._base)
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
            env = {"ENGINE_WEIGHTS": self.chosen.weights, "ENGINE_GPUS": str(len(gpus))}
            made = self.setup.workload("engine", "engine.py", gpus=gpus, env=env)
            assigned, args, env = made.devices, made.args, made.env
            mounts = [
                Mount(container_path=one["destination"], host_path=one["source"], readonly=True)
                for one in made.mounts
            ]
        else:
            assigned = [spec.device(path) for path in spec.nvidia_nodes(gpus)]
            args, env = self._args(len(gpus)), self._env(len(gpus))
            mounts = [Mount(container_path="/weights", host_path=self.model, readonly=True)]
        directory = PodDirectory(self.node, pod.spec.uid)
        if self.has_middleware:
            mounts.append(
                directory.config_map("loopback", {"loopback.py": engine_images.middleware()}, LOOPBACK)
            )
        host = [WORKLOADS, *cri.host_directories()]
        mounts += [
            Mount(container_path="/check" if path == WORKLOADS else path, host_path=path, readonly=True)
            for path in host
        ]
        return {
            "image": self._image,
            "command": tuple(args),
            "env": {**env, "CASE": os.path.basename(self.node.names.state)},
            "devices": tuple(self._device(one) for one in assigned),
            "mounts": tuple(mounts),
        }

    def _args(self, gpus: int) -> list[str]:
        chosen = self.chosen
        serve = ["/bin/bash", f"{self.pack}/serve.sh", "/weights", "--sleep", "--", "--host", "0.0.0.0"]
        if self.engine == "sglang":
            serve += ["--mem-fraction-static", chosen.gpu_share]
            serve += ["--enable-weights-cpu-backup"] if chosen.weights == "keep" else []
            return [*serve, *chosen.more]
        serve += ["--gpu-memory-utilization", chosen.gpu_share, "--middleware", "loopback.LoopbackOnly"]
        if chosen.weights == "reload" and chosen.load_format:
            serve += ["--load-format", chosen.load_format]
        if gpus > 1:
            serve += ["--tensor-parallel-size", str(gpus), "--disable-custom-all-reduce"]
        return [*serve, *chosen.more]

    def _env(self, gpus: int) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_THROUGH if name in os.environ}
        several = SEVERAL_GPUS if gpus > 1 else {}
        ours = {**CACHES, **ENV, **several, "PY": sys.executable, "PYTHONPATH": LOOPBACK}
        return {**passed, **ours, **self.chosen.env}

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
        engine_images.pack_caches(f"/proc/{pod.container.pid}/root", layer)
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
        path, question = self._question
        said = {
            "capture": capture,
            "engine": engine,
            "weights": place.chosen.weights,
            "hook-timeout": "2m",
            "weights-path": "/weights",  # not the host's /usr and /opt, which are mounted too
            "compile-cache": "node",
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
        path, question = self._question
        read = questions.of_sglang if self._speaks_sglang else questions.of_vllm
        return self._query(path, question, read, within_s)

    def text(self, within_s: float) -> str:
        """The text alone, as most clients ask for it. Raises Failed."""
        question = questions.without_logprobs(self._question)
        return self._query(self._question[0], question, questions.text_of, within_s)

    def _query(
        self, path: str, question: dict[str, Any], read: Callable[[bytes], Answer], within_s: float
    ) -> Answer:
        try:
            status, body = self.call("POST", path, question, within_s)
            if status != 200:
                raise Failed(f"{path}: {status} {body[:300]!r}")
            return read(body)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failed(f"no answer to the question: {error!r}") from error

    @property
    def _question(self) -> questions.Question:
        return questions.SGLANG if self._speaks_sglang else questions.VLLM

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
        self,
        method: str,
        path: str,
        body: Any = None,
        within_s: float = ANSWER_WITHIN_S,
        address: str = "127.0.0.1",
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
                raise Failed(f"no {what} within {within_s:.0f} s; the log ends: {self.log()[-1500:]}")
            if time.monotonic() > look:
                look = time.monotonic() + 1
                if (status := self.container.status()).state == "exited":
                    raise Failed(
                        f"waited for {what}, the container ended: {status}; its log ends: {self.log()[-1500:]}"
                    )
            time.sleep(POLL_S)
