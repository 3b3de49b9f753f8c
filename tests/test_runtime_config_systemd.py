"""The agent's unit: systemd understands it, and it takes nothing from the agent that a capture needs."""

import os
import shutil
import subprocess

import pytest

from glowplug.node import templates

NAME = "systemd/glowplug-agent.service"

OWN_MOUNTS = (
    *("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "PrivateNetwork"),
    *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups"),
    *("ProtectProc", "ProcSubset", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "ExecPaths"),
    *("NoExecPaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "MountFlags", "RootDirectory"),
    *("RootImage", "MountAPIVFS", "PrivateUsers", "PrivateIPC", "DynamicUser", "ProtectHostname"),
)
"""systemd.exec(5): each gives the service a mount namespace of its own, in which an unmount of ours stays."""
TAKEN = (
    *("CapabilityBoundingSet", "DevicePolicy", "DeviceAllow", "User", "Group"),
    *("RestrictFileSystems", "PrivatePIDs", "MemoryMax", "LimitMEMLOCK"),
)
"""What CRIU, the driver or a copy of setuid files needs."""

FILTERS = (
    *("LockPersonality", "MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID"),
    *("RestrictNamespaces", "RestrictAddressFamilies", "SystemCallFilter", "SystemCallLog"),
    *("SystemCallArchitectures", "SystemCallErrorNumber", "ProtectClock", "ProtectHostname"),
    *("ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "PrivateDevices", "DynamicUser"),
)
"""systemd.exec(5), "If this option is on … NoNewPrivileges=yes is implied": each installs a seccomp filter. The kernel
refuses PTRACE_O_SUSPEND_SECCOMP to a process that has one (kernel/ptrace.c), and CRIU needs it for each container."""

KEPT_FOR_GOOD = ("NoNewPrivileges",)
"""Nobody can take it off a process again, and what the agent restores to try a checkpoint descends from the agent."""


def unit() -> str:
    return templates.fill(NAME, {"prefix": "/opt/glowplug"})


def settings() -> dict[str, str]:
    lines = [line.partition("=") for line in unit().splitlines() if "=" in line and not line.startswith("#")]
    return {name: value for name, _, value in lines}


def test_systemd_understands_it(tmp_path: os.PathLike[str]) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    program = os.path.join(tmp_path, "bin", "glowplug")
    os.makedirs(os.path.dirname(program))
    shutil.copy("/bin/true", program)
    path = os.path.join(tmp_path, "glowplug-agent.service")
    with open(path, "w") as file:
        file.write(templates.fill(NAME, {"prefix": str(tmp_path)}))
    done = subprocess.run([analyze, "verify", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "glowplug-agent" in line]) == (
        0,
        [],
    )


def test_the_agent_notifies_and_is_watched() -> None:
    found = settings()
    assert (found["Type"], found["ExecStart"]) == ("notify", "/opt/glowplug/bin/glowplug agent")
    assert int(found["WatchdogSec"]) > 0
    assert found["Restart"] == "always"


def test_it_has_no_mount_namespace_of_its_own_and_all_that_a_capture_takes() -> None:
    assert set(settings()) & {*OWN_MOUNTS, *TAKEN, *FILTERS, *KEPT_FOR_GOOD} == set()


def test_a_limit_of_its_own_is_a_soft_one() -> None:
    """systemd.exec(5), Process Properties: "soft:hard". A hard one would be that of what it restores for a trial."""
    limits = {name: value for name, value in settings().items() if name.startswith("Limit")}
    assert {name for name, value in limits.items() if not value.endswith(":infinity")} == set()


def test_the_processes_that_thaw_a_container_outlive_the_agent() -> None:
    """capture/guard.py and cuda/rescue.py: in the unit's cgroup, they would be killed with it otherwise."""
    assert settings()["KillMode"] == "process"


def test_it_does_not_end_with_containerd() -> None:
    found = settings()
    assert found["After"] == "containerd.service"
    assert {"Requires", "BindsTo", "PartOf", "Requisite"} & set(found) == set()


def test_it_is_started_again_however_often_it_failed() -> None:
    """Five failures in ten seconds, systemd's default, are five seconds of a cache disk that is not mounted yet."""
    assert settings()["StartLimitIntervalSec"] == "0"
