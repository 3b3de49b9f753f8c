"""`create`, its decisions: runc after whatever went wrong, but never over what could not be cleaned up."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint_made import spec

from glowplug import paths
from glowplug.errors import HostError, LayerError
from glowplug.host import cgroup, process_life
from glowplug.outcomes import ask, report
from glowplug.restore import attempt, result, supervised, undo
from glowplug.restore import take_back as taking_back
from glowplug.restore.journal import Journal
from glowplug.runtime import argv, create, take_back
from glowplug.runtime.status import DONE, REFUSED, RUNC

MATCH: dict[str, object] = {"verdict": "match", "checkpoint": "c" * 16, "cache": "/none"}


class Bundle:
    """A bundle that containerd wants a container made of."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "bundle"
        self.directory.mkdir()
        (self.directory / "config.json").write_text(json.dumps(spec()))
        self.log = directory / "log.json"
        self.options: list[str] = []

    @property
    def root(self) -> str:
        return f"{self.directory}/runc"

    @property
    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "config.json").read_text())
        return found

    @property
    def command(self) -> argv.Command:
        reported = ("--root", self.root, "--log", str(self.log))
        return argv.parse([*reported, "create", *self.options, "--bundle", str(self.directory), "c1"])

    def create(self) -> int:
        status = create.run("/none/runc", self.command)
        release("c1")
        return status


def release(container: str) -> None:
    """As our end does: nobody holds its lock."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}") == f"{paths.attempt(container)}/lock":
                os.close(int(fd))
        except FileNotFoundError:
            continue


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(process_life, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(ask, "ask", lambda question, **_: MATCH)
    return Bundle(tmp_path)


def record() -> dict[str, object]:
    """The one outcome."""
    (name,) = os.listdir(paths.spool())
    found: dict[str, object] = json.loads(Path(paths.spool(), name).read_text())
    return found


def ends(monkeypatch: pytest.MonkeyPatch, failure: supervised.Failure | None) -> None:
    """The process that restores comes to this end."""
    monkeypatch.setattr(supervised, "run", lambda work, until: (result.Result(), failure))


def take_back_again(bundle: Bundle) -> int:
    """As the script does while the attempt is there."""
    return take_back.run("/none/runc", bundle.command)


def test_a_failed_restore_is_left_to_the_script(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, supervised.Failure("criu", "no luck"))
    assert bundle.create() == RUNC
    assert attempt.names() == ["c1"]
    assert not os.path.exists(paths.spool())
    assert take_back_again(bundle) == RUNC
    found = record()
    pod = bundle.spec["annotations"]["io.kubernetes.cri.sandbox-name"]
    assert (found["outcome"], found["detail"], found["pod"]) == ("fallback:criu", "no luck", pod)
    assert attempt.names() == []


def test_one_that_was_killed_is_one_too(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(supervised, "run", killed)
    with pytest.raises(Killed):
        bundle.create()
    release("c1")
    assert take_back_again(bundle) == RUNC
    assert record()["outcome"] == "fallback:killed"


def test_a_create_finds_its_own_attempt_and_leaves_it_to_the_script(bundle: Bundle) -> None:
    os.makedirs(paths.attempt("c1"))
    assert bundle.create() == RUNC
    assert not os.path.exists(paths.spool())


@pytest.mark.parametrize("journal", ["{", '{"id": 3}'])
def test_a_damaged_attempt_is_taken_back_by_what_the_bundle_says(
    journal: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, supervised.Failure("criu", "no luck"))
    bundle.create()
    Path(paths.attempt("c1"), attempt.JOURNAL).write_text(journal)
    os.makedirs(paths.restore_bundle(str(bundle.directory)))
    assert take_back_again(bundle) == RUNC
    assert not os.path.exists(paths.restore_bundle(str(bundle.directory)))


def test_processes_that_do_not_die_are_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """runc would run beside them; the attempt stays, and its outcome is recorded once."""

    def stuck(*_: object) -> None:
        raise HostError("7 is stuck")

    ends(monkeypatch, supervised.Failure("criu", "no luck"))
    bundle.create()
    monkeypatch.setattr(cgroup, "kill", stuck)
    for _ in range(2):
        assert take_back_again(bundle) == REFUSED
    assert record()["outcome"] == "fallback:cleanup"
    assert "can't be taken back: 7 is stuck" in json.loads(bundle.log.read_text().splitlines()[0])["msg"]
    assert attempt.names() == ["c1"]
    monkeypatch.undo()


@pytest.mark.parametrize(
    "fault", [OSError(16, "busy"), LayerError("damaged"), KeyError("source"), TypeError()]
)
@pytest.mark.parametrize(
    "step", ["detach_mounts", "forget_in_runc", "remove_cgroups", "undo_shm", "undo_volumes"]
)
def test_what_does_not_hinder_runc_refuses_nothing(
    step: str, fault: Exception, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise fault

    fail.__name__ = step
    ends(monkeypatch, supervised.Failure("criu", "no luck"))
    bundle.create()
    monkeypatch.setattr(undo, step, fail)
    assert take_back_again(bundle) == RUNC
    assert f"no luck; left behind: {step}: " in str(record()["detail"])
    assert attempt.names() == []


def test_another_container_s_damaged_attempt_costs_no_start(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is wrong with it is in the outcome."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("version")

    sandbox = str(bundle.spec["annotations"]["io.kubernetes.cri.sandbox-id"])
    attempt.begin(Journal("c0", sandbox=sandbox)).release()
    monkeypatch.setattr(ask, "ask", lambda question, **_: {"verdict": "miss", "slug": "no-checkpoint"})
    monkeypatch.setattr(taking_back, "take_back", fail)
    assert bundle.create() == RUNC
    found = record()
    assert found["outcome"] == "cold:no-checkpoint"
    assert "(c0) can't be taken back" in str(found["left_behind"])


@pytest.mark.parametrize("option", [["--no-pivot"], ["--preserve-fds", "2"], ["--console-socket", "/s"]])
def test_what_runc_restore_can_t_do_starts_cold(option: list[str], bundle: Bundle) -> None:
    bundle.options = option
    assert bundle.create() == RUNC
    assert record()["outcome"] == "cold:runc-options"


@pytest.mark.parametrize(
    ("path", "options", "outcome"),
    [
        ("a/b", [], "cold:relative-cgroup"),
        ("", [], "cold:relative-cgroup"),
        ("a.slice:cri:c1", [], "cold:relative-cgroup"),
        ("a.slice:cri:c1", ["--systemd-cgroup"], "cold:agent-bad-response"),
        ("/a/b", [], "cold:agent-bad-response"),
    ],
)
def test_a_cgroup_that_depends_on_the_caller_s_starts_cold(
    path: str, options: list[str], outcome: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """runc puts it below its own, which is the shim's; a clean-up would look for it elsewhere."""
    monkeypatch.setattr(ask, "ask", lambda question, **_: {"verdict": "match", "checkpoint": 7})
    made = spec()
    made["linux"]["cgroupsPath"] = path
    (bundle.directory / "config.json").write_text(json.dumps(made))
    words = [
        *options,
        "--root",
        f"{bundle.directory}/runc",
        "create",
        "--bundle",
        str(bundle.directory),
        "c1",
    ]
    assert create.run("/none/runc", argv.parse(words)) == RUNC
    assert record()["outcome"] == outcome


def test_what_is_no_plan_is_a_cold_start(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "ask", lambda question, **_: {"verdict": "match", "checkpoint": 7, "cache": []})
    assert bundle.create() == RUNC
    assert record()["outcome"] == "cold:agent-bad-response"
    assert attempt.names() == []


def test_a_restored_one_leaves_no_attempt(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, None)
    assert bundle.create() == DONE
    assert record()["outcome"] == "restored"
    assert os.listdir(paths.attempts()) == []


def test_one_whose_runtime_was_killed_when_all_was_done_is_restored(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = attempt.begin(Journal("c1", bundle=str(bundle.directory)))
    begun.complete()
    begun.release()
    assert take_back_again(bundle) == DONE
    assert record()["outcome"] == "restored"
    assert os.listdir(paths.attempts()) == []


def test_one_that_was_tidied_up_before_its_runtime_was_killed_is_restored(bundle: Bundle) -> None:
    marker = Path(paths.marker(bundle.root, "c1"))
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert take_back_again(bundle) == DONE


def test_one_killed_before_it_had_begun_starts_cold(bundle: Bundle) -> None:
    assert take_back_again(bundle) == RUNC
    assert record()["outcome"] == "cold:killed"


def test_what_a_living_process_holds_is_refused_in_the_end(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of the restore that does not die, stuck in the kernel: it may still change things."""
    begun = attempt.begin(Journal("c1", bundle=str(bundle.directory)))
    monkeypatch.setattr(taking_back, "LOCK_WAIT_S", 0.05)
    assert take_back_again(bundle) == REFUSED
    begun.finish()


def test_a_refusal_that_can_not_be_said_is_one(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""
    begun = attempt.begin(Journal("c1", bundle=str(bundle.directory)))
    monkeypatch.setattr(taking_back, "LOCK_WAIT_S", 0.05)
    bundle.log = Path("/dev/full")
    assert take_back_again(bundle) == REFUSED
    begun.finish()


def test_an_outcome_that_can_not_be_written_leaves_nothing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(old: str, new: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    assert not report.append({"outcome": "restored"})
    assert os.listdir(paths.spool()) == []
