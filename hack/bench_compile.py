"""How long compile caches take to be kept, and to be put into a cold start: files like vLLM's, in an overlay.

`keep_s` is what the agent takes, beside the container's work; `give_s` what the container's `create` takes longer.
Seconds, of every run; a real engine's caches by --from, a directory that is laid out as a container's root.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import click

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "shim"))

from glowplug.cache import pack
from glowplug.capture import compile_cache
from glowplug.restore import give_compile_cache

CACHE = "/root/.cache/vllm"


@click.command()
@click.option(
    "--files", default=656, show_default=True, type=click.IntRange(1), help="As vLLM 0.26 makes for 8B."
)
@click.option("--mb", default=50.6, show_default=True, type=click.FloatRange(0), help="All of them together.")
@click.option(
    "--from", "source", metavar="DIR", help="These in the place of made ones: DIR/root/.cache is the cache."
)
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1))
@click.option(
    "--scratch", default="/var/tmp", show_default=True, metavar="DIR", help="On the disk that is measured."
)
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(files: int, mb: float, source: str | None, runs: int, scratch: str, file: str | None) -> None:
    """Compile caches kept, and put into a cold start."""
    folder = tempfile.mkdtemp(prefix="glowplug-bench-compile-", dir=scratch)
    try:
        upper = source or _made(f"{folder}/upper", files, mb)
        kept, keep_s = _keep(upper, "/root/.cache" if source else CACHE, f"{folder}/pack")
        give_s = [_give(folder, f"{folder}/pack") for _ in range(runs)]
    finally:
        shutil.rmtree(folder)
    figures = {"files": kept.files, "bytes": kept.bytes, "keep_s": keep_s, "give_s": give_s}
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _made(upper: str, files: int, mb: float) -> str:
    for number in range(files):
        directory = f"{upper}{CACHE}/{number // 8}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{number}", "wb") as file:
            file.write(os.urandom(int(mb * 1e6 / files)))
    return upper


def _keep(upper: str, directory: str, path: str) -> tuple[compile_cache.Kept, float]:
    began = time.monotonic()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    writer = pack.Writer(descriptor, "default", "key", time.time())
    kept = compile_cache.written(writer, upper, [directory], busy=set())
    writer.finish()
    os.close(descriptor)
    return kept, round(time.monotonic() - began, 3)


def _give(folder: str, path: str) -> float:
    rootfs = tempfile.mkdtemp(prefix="bundle-", dir=folder)
    for name in ("lower", "upper", "work", "rootfs"):
        os.mkdir(f"{rootfs}/{name}")
    layers = f"lowerdir={rootfs}/lower,upperdir={rootfs}/upper,workdir={rootfs}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, f"{rootfs}/rootfs"], check=True)
    try:
        said = give_compile_cache.give(path, f"{rootfs}/rootfs")
    finally:
        subprocess.run(["umount", f"{rootfs}/rootfs"], check=True)
    if said.detail:
        raise click.ClickException(said.detail)
    return said.seconds


if __name__ == "__main__":
    main()
