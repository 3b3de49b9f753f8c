"""What the tests of this folder build."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SHIM = Path(__file__).parent.parent.parent / "shim"
RECORDER = """#!{python} -IS
import os, sys
def target(fd):
    try: return os.readlink(f"/proc/self/fd/{{fd}}")
    except OSError: return None
found = {{
    "argv": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(),
    "env": dict(part.split("=", 1) for part in open("/proc/self/environ").read().split("\\0") if part),
    "fds": {{str(fd): target(fd) for fd in range(256) if target(fd)}},
}}
import json
open({record!r}, "w").write(json.dumps(found))
sys.stdout.write("said by runc")
sys.exit(43)
"""


class Called:
    """One call of the script, and what the recorder saw."""

    def __init__(
        self,
        directory: Path,
        arguments: list[str],
        env: Mapping[str, str],
        script: Path = SHIM / "glowplug-runtime",
    ) -> None:
        record = directory / "record.json"
        runc = directory / "runc"
        runc.write_text(RECORDER.format(python=sys.executable, record=str(record)))
        runc.chmod(0o755)
        (directory / "cwd").mkdir(exist_ok=True)
        self.extra = os.memfd_create("passed on")
        os.set_inheritable(self.extra, True)
        self.env = {"GLOWPLUG_RUNC": str(runc), "GLOWPLUG_RUN_DIR": str(directory / "run"), **env}
        process = subprocess.Popen(
            [str(script), *arguments],
            env=self.env,
            cwd=directory / "cwd",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self.extra],
        )
        self.pid = process.pid
        self.out, self.err = process.communicate(b"", timeout=60)
        self.status = process.returncode
        os.close(self.extra)
        self.seen = json.loads(record.read_text())


CREATE = [
    "--root",
    "{root}",
    "--log",
    "{log}",
    "create",
    "--bundle",
    "{bundle}",
    "--pid-file",
    "{bundle}/pid",
    "c1",
]


def eligible_bundle(directory: Path) -> list[str]:
    """A bundle as CRI writes it, and the create that goes with it."""
    bundle = directory / "bundle"
    bundle.mkdir()
    spec = {
        "ociVersion": "1.0.2",
        "process": {"args": ["true"], "cwd": "/", "env": []},
        "root": {"path": "rootfs"},
        "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-id": "s1",
            "io.kubernetes.cri.sandbox-name": "pod",
            "io.kubernetes.cri.sandbox-namespace": "ns",
            "io.kubernetes.cri.container-name": "main",
        },
        "linux": {
            "cgroupsPath": "/x/c1",
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
        },
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    places = {"root": directory / "root", "log": bundle / "log.json", "bundle": bundle}
    return [word.format(**places) for word in CREATE]


def outcomes(directory: Path) -> list[str]:
    return [
        json.loads(file.read_text())["outcome"]
        for file in sorted((directory / "run/outcomes").glob("*.json"))
    ]
