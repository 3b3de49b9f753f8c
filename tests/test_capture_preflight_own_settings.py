"""What threads set of themselves: kept, noted, or refused before a capture."""

import os
import subprocess
import sys
import time

import pytest
from tests.preflight_made import needs_root, running, tree

from glowplug.capture.preflight import (
    own_settings,
    require,
)
from glowplug.capture.preflight.tree import Tree
from glowplug.host import landlock_probe, proc, thread_probe
from glowplug.host.thread_probe import Found, Probed

LANDLOCK = """
import ctypes, os, threading
libc = ctypes.CDLL(None)
def restrict():
    rules = libc.syscall(444, ctypes.byref(ctypes.c_uint64(2)), 8, 0)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.syscall(446, rules, 0) == 0
ready = threading.Event()
def work(first):
    first()
    ready.set()
    threading.Event().wait()
"""
NO_NEW_PRIVILEGES = "libc.prctl(38, 1, 0, 0, 0)"
IN_A_THREAD = "threading.Thread(target=work, args=(restrict,), daemon=True).start(); ready.wait()"
needs_ptrace = pytest.mark.skipif(
    os.geteuid() != 0 or not thread_probe.can_call(),
    reason="needs root, on a CPU whose registers are known",
)
needs_landlock = pytest.mark.skipif(
    os.geteuid() != 0 or not landlock_probe.is_on() or not thread_probe.can_call(),
    reason="wants a kernel with Landlock",
)


@needs_landlock
@pytest.mark.parametrize(
    ("does", "restricts"),
    [
        (NO_NEW_PRIVILEGES, False),
        ("restrict()", True),
        (IN_A_THREAD, True),
        (f"{NO_NEW_PRIVILEGES}; os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)", False),
        ("os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000); restrict()", True),
    ],
)
def test_rights_that_were_dropped(does: str, restricts: bool) -> None:
    with running(f"{LANDLOCK}\n{does}") as pid:
        found = [one.slug for one in own_settings.reported(tree(pid))]
        assert found == (["landlock"] if restricts else [])


@needs_ptrace
def test_a_thread_that_was_queried_continues_as_if_it_had_not_been() -> None:
    """Queried in the middle of calls that wait; one that were not taken up again would fail with 512."""
    program = (
        f"{LANDLOCK}\n{NO_NEW_PRIVILEGES}\nimport sys\n"
        "threading.Thread(target=lambda: [None for _ in iter(lambda: sum(range(99)), 0)], daemon=True).start()\n"
        "print(flush=True)\n"
        "for line in iter(lambda: os.read(0, 1), b''): os.write(1, line)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as made:
        assert made.stdin and made.stdout and made.stderr
        made.stdout.readline()
        threads = [int(name) for name in os.listdir(f"/proc/{made.pid}/task")]
        for number in range(5):
            assert thread_probe.ask(made.pid, threads * 4) == []
            made.stdin.write(b"%d" % number)
            made.stdin.flush()
            assert made.stdout.read(1) == b"%d" % number
        made.stdin.close()
        assert made.wait(60) == 0, made.stderr.read()


@needs_ptrace
def test_who_was_queried_before_is_not_queried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """But a new thread, and one with a number that another had."""
    program = (
        f"{LANDLOCK}\nlibc.prctl(33, 1, 0, 0, 0)\nthreading.Thread(target=work, args=(int,), daemon=True).start()\n"
        "ready.wait()"
    )
    with running(program) as pid:
        first, second = proc.tasks(pid)
        before = thread_probe.ask_again(pid, [first], None)
        assert [one.settings for one in before.found] == [{"mce-kill": 0}]
        monkeypatch.setattr(thread_probe, "ask", lambda init, threads: [Found(one) for one in threads])
        monkeypatch.setattr(landlock_probe, "may_restrict", lambda thread: False)
        both = Tree([pid], "/", before=before)
        assert both.probed.found == (*before.found, Found(second))
        assert both.own_settings == {first: {"mce-kill": 0}}
        speaks_against = Probed((Found(first, dispatches_calls=True),), before.threads)
        assert Tree([pid], "/", before=speaks_against).probed.found == (Found(first), Found(second))
        another = Probed(before.found, frozenset({(first, 1)}))
        assert Tree([pid], "/", before=another).probed.found == (Found(first), Found(second))


@needs_landlock
def test_threads_that_may_have_dropped_rights_since_are_queried_again() -> None:
    program = f"{LANDLOCK}\n{NO_NEW_PRIVILEGES}\nprint(flush=True)\nos.read(0, 1)\nrestrict()"
    with subprocess.Popen(
        [sys.executable, "-c", f"{program}\nprint(flush=True)\nos.read(0, 1)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as made:
        assert made.stdin and made.stdout
        made.stdout.readline()
        before = tree(made.pid).probed
        assert before.found == ()
        made.stdin.write(b"x")
        made.stdin.flush()
        made.stdout.readline()
        assert [one.slug for one in own_settings.reported(Tree([made.pid], "/", before=before))] == [
            "landlock"
        ]
        made.kill()


# A filter that ends the process at any call but those that this program waits with.
KILLS = """
import struct
words = [(0x20, 0, 0, 0)]
for number in (35, 230, 202, 219, 0, 60, 231):
    words += [(0x15, 0, 1, number), (6, 0, 0, 0x7FFF0000)]
words.append((6, 0, 0, 0x80000000))
program = b"".join(struct.pack("HBBI", *word) for word in words)
kept = ctypes.create_string_buffer(program)
holder = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(words), ctypes.addressof(kept)))
def filtered():
    assert libc.prctl(22, 2, holder, 0, 0) == 0
    os.read(0, 1)
"""


@needs_landlock
@pytest.mark.skipif(proc.status("self")["Seccomp"] != "0", reason="a filter of our own may not be left")
@pytest.mark.parametrize("restricts", [False, True])
def test_one_whose_filter_would_kill_it_is_queried_and_lives(restricts: bool) -> None:
    does = "restrict()" if restricts else NO_NEW_PRIVILEGES
    program = f"{LANDLOCK}\n{KILLS}\n{does}\nprint(flush=True)\nfiltered()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        assert made.stdout is not None
        made.stdout.readline()
        until = time.monotonic() + 60
        while proc.status(made.pid)["Seccomp"] != "2" and time.monotonic() < until:
            time.sleep(0.01)
        looked_at = tree(made.pid)
        assert [one.slug for one in own_settings.reported(looked_at)] == (["landlock"] if restricts else [])
        assert looked_at.notes == [] and made.poll() is None
        made.kill()


@needs_ptrace
def test_a_probe_that_fails_refuses_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(init: int, threads: list[int]) -> None:
        raise OSError("no helper could be made")

    monkeypatch.setattr(thread_probe, "ask", fail)
    with running(f"{LANDLOCK}\n{NO_NEW_PRIVILEGES}") as pid:
        (refusal,) = own_settings.reported(tree(pid))
    assert refusal.slug in require.MOMENTARY and "no helper could be made" in refusal.sentence


@needs_root
def test_another_architecture_is_noted_and_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = os.uname_result(("Linux", "node", "6.1.0", "#1", "aarch64"))
    monkeypatch.setattr("os.uname", lambda: elsewhere)
    with running("") as pid:
        probed = tree(pid)
        assert list(own_settings.reported(probed)) == []
    assert probed.notes == [
        "what processes set by Landlock and prctl(2), PR_SET_MDWE say, is not known on aarch64"
    ]
    assert probed.own_settings == {}


DISPATCHED = """
import ctypes, signal, sys, time
selector = ctypes.c_char(b"\\0")
assert ctypes.CDLL(None).prctl(59, 1, 0, 0, ctypes.byref(selector)) == 0
"""


@needs_ptrace
def test_calls_that_are_turned_into_signals() -> None:
    with running(DISPATCHED) as pid:
        assert [one.slug for one in own_settings.reported(tree(pid))] == ["syscall-dispatch"]


@pytest.mark.parametrize(
    ("flags", "status", "cookie", "slugs"),
    [
        (0x180040, {}, 0, ["io-flusher"]),
        (0x100040, {"untag_mask": "0xffffffffffffffff"}, 0, []),
        (0, {"untag_mask": "0x81ffffffffffffff"}, 0, ["tagged-addresses"]),
        (0, {}, 7, ["core-scheduling"]),
    ],
)
def test_what_is_seen_from_outside(
    monkeypatch: pytest.MonkeyPatch, flags: int, status: dict[str, str], cookie: int, slugs: list[str]
) -> None:
    monkeypatch.setattr("glowplug.host.process.flags", lambda _: flags)
    monkeypatch.setattr("glowplug.host.proc.status", lambda _: status)
    monkeypatch.setattr(own_settings, "_core_cookie", lambda _: cookie)
    assert [one.slug for one in own_settings.seen(tree(os.getpid()))] == slugs
