"""`glowplug verify`: read checkpoints in full and compare them with their manifests."""

import click

from glowplug.cache.state import FOREVER
from glowplug.cache.store import Store
from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root
from glowplug.errors import CacheError, UnknownDigest, UsageError


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every checkpoint of the cache.")
@options.as_json
@options.config
@click.argument("prefixes", metavar="[ID…]", nargs=-1)
def verify(everything: bool, as_json: bool, path: str | None, prefixes: tuple[str, ...]) -> None:
    """Verify every digest of checkpoints. A damaged one is quarantined: no pod starts from it any more.

    The exit status is 1 when one is damaged. One whose digests only a newer Glowplug knows is left as it is.
    """
    from glowplug.config import load

    require_root("checkpoints contain the memory of processes")
    if everything == bool(prefixes):
        raise UsageError("expected ids or --all, got " + ("both" if everything else "neither"))
    store = resolve_id.store(load(path))
    checkpoints = store.ids() if everything else resolve_id.several(store, prefixes)
    found: dict[str, list[str]] = {}
    unknown: dict[str, str] = {}
    for checkpoint in checkpoints:
        try:
            problems = _problems(store, checkpoint)
        except UnknownDigest as error:
            unknown[checkpoint] = str(error)
            problems = []
        if problems is None:
            continue
        found[checkpoint] = problems
        if not as_json:
            _report(checkpoint, problems, unknown.get(checkpoint))
    if as_json:
        screen.as_json(
            [
                {"checkpoint": name, "problems": problems, "unknown": unknown.get(name)}
                for name, problems in found.items()
            ]
        )
    elif not found:
        screen.line(f"no checkpoints in {store.root}")
    if any(found.values()):
        raise SystemExit(1)


def _problems(store: Store, checkpoint: str) -> list[str] | None:
    """None: it went meanwhile. Raises UnknownDigest."""
    try:
        problems = store.verify(checkpoint)
        if problems:
            store.quarantine(checkpoint, f"verify: {problems[0]}", until=FOREVER)
    except CacheError:
        if store.index.get(checkpoint) is None:
            return None
        raise
    return problems


def _report(checkpoint: str, problems: list[str], unknown: str | None) -> None:
    if unknown:
        screen.line(f"{checkpoint}  not verified, left as it is: a newer Glowplug wrote it ({unknown})")
        return
    if not problems:
        screen.line(f"{checkpoint}  intact")
        return
    screen.line(f"{checkpoint}  damaged, quarantined: no pod starts from it")
    for problem in problems:
        screen.line(f"  {problem}")
