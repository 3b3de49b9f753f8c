"""CRIU and runc that fail on demand: each a script in front of the real program, reported by a file what to do.

What fails is outside our process, as it does on nodes: a program that is missing, ends, hangs, or is killed by
somebody at a certain moment. In between the real programs do the real work.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# CRIU runs this at each of its stages (criu(8), --action-script). $PPID leads up to criu, and on to runc.
ACTION = """#!/bin/sh
read -r at victim <{directory}/at || exit 0
[ "$CRTOOLS_SCRIPT_ACTION" = "$at" ] || exit 0
[ "$victim" = hang ] && touch {directory}/there && exec sleep 600
if [ "$victim" = wait ]; then
    touch {directory}/there
    turns=0
    until [ -e {directory}/go ] || [ $turns -gt 1200 ]; do sleep 0.05; turns=$((turns + 1)); done
    exit 0
fi
pid=$$
while [ "$pid" -gt 1 ]; do
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
    [ "$(cat "/proc/$pid/comm")" = "$victim" ] && kill -9 "$pid" && exit 0
done
"""

CRIU = """#!/bin/sh
mode=$(cat {directory}/mode 2>/dev/null)
[ "$1" = swrk ] && case $mode in
    fail) exit 1 ;;
    killed) kill -9 $$ ;;
    hang) exec sleep 600 ;;
    action) export CRIU_CONFIG_FILE={directory}/criu.conf ;;
esac
exec {criu} "$@"
"""

RUNC = """#!/bin/sh
mode=$(cat {directory}/mode 2>/dev/null)
verb='' pid_file='' before=''
for word; do
    case $word in restore | create | checkpoint) [ -n "$verb" ] || verb=$word ;; esac
    [ "$before" = --pid-file ] && pid_file=$word
    before=$word
done
[ "$verb" = restore ] && case $mode in
    dies) {runc} "$@" && kill -9 "$(cat "$pid_file")"; exit ;;
    stray) {runc} "$@" && kill -9 -- "-$(cat "$pid_file")"; exit 1 ;;
esac
exec {runc} "$@"
"""


class Faults:
    """`criu` and `runc` are the programs to put in place of the real ones."""

    def __init__(self, directory: str, criu: str, runc: str) -> None:
        self.directory = directory
        self.criu = self._program("criu", CRIU, criu=criu)
        self.runc = self._program("runc", RUNC, runc=runc)
        self._program("action", ACTION)
        self._write("criu.conf", f'action-script "{directory}/action"\n')

    @property
    def is_there(self) -> bool:
        """Whether CRIU has come to the stage at which it is to hang or to wait."""
        return os.path.exists(f"{self.directory}/there")

    def release(self) -> None:
        """End of a wait."""
        self._write("go", "")

    @contextmanager
    def set(self, mode: str, at: str = "", victim: str = "") -> Iterator[None]:
        """For a while: `mode` as in the scripts above; with "action", at which stage of CRIU's and what:
        victim "criu" or "runc" is killed, "hang" never ends, "wait" waits for `release`."""
        self._forget("there", "go")
        if at:
            self._write("at", f"{at} {victim}\n")
        self._write("mode", mode)
        try:
            yield
        finally:
            self._forget("mode", "at")
            self.release()  # a process that still waits

    @contextmanager
    def without_criu(self) -> Iterator[None]:
        """The program is gone."""
        os.rename(self.criu, f"{self.criu}.away")
        try:
            yield
        finally:
            os.rename(f"{self.criu}.away", self.criu)

    def _forget(self, *names: str) -> None:
        for name in names:
            if os.path.exists(f"{self.directory}/{name}"):
                os.unlink(f"{self.directory}/{name}")

    def _program(self, name: str, text: str, **programs: str) -> str:
        path = f"{self.directory}/{name}"
        self._write(name, text.format(directory=self.directory, **programs))
        os.chmod(path, 0o755)
        return path

    def _write(self, name: str, text: str) -> None:
        with open(f"{self.directory}/{name}", "w") as file:
            file.write(text)
