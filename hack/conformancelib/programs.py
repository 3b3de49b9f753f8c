"""What the tests call in runc's place: plain runc or ours, each in three ways."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RUNTIME = REPOSITORY / "shim/glowplug-runtime"
FRONT = Path(__file__).resolve().parent / "front.py"
WAYS = ("stock", "cri", "create-start")


@dataclass(frozen=True)
class Program:
    """path: what RUNC names. environment: what it needs besides the caller's."""

    path: str
    environment: dict[str, str] = field(default_factory=dict)


def plain(runc: str, way: str, directory: Path) -> Program:
    return Program(_in_front_of(runc, way, directory / "plain", "runc"))


def ours(runc: str, way: str, directory: Path) -> Program:
    environment = {"GLOWPLUG_RUNC": runc, "GLOWPLUG_RUN_DIR": str(directory / "state")}
    return Program(_in_front_of(str(RUNTIME), way, directory / "ours", "runc"), environment)


def _in_front_of(program: str, way: str, directory: Path, name: str) -> str:
    """The program itself, or a script of that name that prepares its calls (front.py)."""
    if way == "stock":
        return program
    path = directory / way / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {FRONT} {program} {way} "$@"\n')
    path.chmod(0o755)
    return str(path)
