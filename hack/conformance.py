"""runc's integration tests (bats) against plain runc and glowplug-runtime, side by side.

In three ways, alternating: as the tests are; with the annotations that CRI gives a container, so that ours looks at
each create; and with `run` made of create and start besides, as containerd does. A test that ends differently is
run again on both sides, up to three times: what differs each time is the result.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))

from conformancelib import programs, suite
from conformancelib.suite import Suite

TURNS = 3


@click.command()
@click.option(
    "--runc-source",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
)
@click.option("--files", multiple=True, metavar="NAME.bats", help="Only these; all of them by default.")
@click.option("--ways", multiple=True, type=click.Choice(programs.WAYS), help="Only these; all by default.")
@click.option("--json", "report", metavar="FILE", help="Write the result there too.")
def main(runc_source: Path, files: tuple[str, ...], ways: tuple[str, ...], report: str | None) -> None:
    """Exit status 0 where no test differs."""
    runc = shutil.which("runc")
    if runc is None:
        raise click.ClickException("no runc in PATH: install it")
    differing: dict[str, list[str]] = {}
    counts: dict[str, dict[str, int]] = {}
    with _work_directory() as directory:
        tests = Suite(runc_source, directory)
        chosen = sorted(files) or tests.files()
        for way in ways or programs.WAYS:
            plain = programs.plain(runc, way, directory)
            ours = programs.ours(runc, way, directory)
            counts[way], differing[way] = _compare(tests, chosen, plain, ours)
            print(way, json.dumps(counts[way]), flush=True)
            for name in differing[way]:
                print(f"    differs: {name}", flush=True)
    total = sum(map(len, differing.values()))
    print(json.dumps({"runc": _version(runc), "counts": counts, "differing": differing}))
    if report:
        Path(report).write_text(
            json.dumps({"runc": _version(runc), "counts": counts, "differing": differing})
        )
    sys.exit(1 if total else 0)


@contextlib.contextmanager
def _work_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="conformance."))
    directory.chmod(0o711)  # the tests go there as other users
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _compare(
    tests: Suite, files: list[str], plain: programs.Program, ours: programs.Program
) -> tuple[dict[str, int], list[str]]:
    """How the tests ended under plain runc, and those that ended differently under ours, each time."""
    counts = dict.fromkeys(suite.ENDS, 0)
    differing = []
    for file in files:
        expected, got = tests.run(file, plain), tests.run(file, ours)
        for name, end in expected.items():
            counts[end] += 1
            turns = 1
            while got.get(name) != end and turns < TURNS:
                end, got[name] = tests.run_one(file, name, plain), tests.run_one(file, name, ours)
                turns += 1
            if got.get(name) != end:
                differing.append(f"{file}: {name}: {end} under runc, {got.get(name)} under glowplug-runtime")
    return counts, differing


def _version(runc: str) -> str:
    said = subprocess.run([runc, "--version"], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout.split("\n")[0].removeprefix("runc version ")


if __name__ == "__main__":
    main()
