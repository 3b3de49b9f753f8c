"""`glowplug timeline`: one start as a picture, its phases as bars."""

import os

import click

from glowplug.cli import history, options, screen
from glowplug.cli.root import require_root
from glowplug.errors import UsageError
from glowplug.outcomes.starts import Start


@click.command()
@click.option("--html", metavar="FILE", help="Write the chart to FILE as a page that needs no network.")
@options.config
@click.argument("wanted", metavar="ID|NAMESPACE/POD[/CONTAINER]")
def timeline(html: str | None, path: str | None, wanted: str) -> None:
    """Show one start phase by phase: a container's (ID: the first digits of its id) or a pod's latest.

    A cold start has one phase here: from the call of create to the hand-over to runc.
    """
    from glowplug.cli import timeline_html, timeline_text
    from glowplug.config import load

    require_root("the history is root's")
    start = find(history.read(load(path).cache), wanted)
    if html is None:
        timeline_text.show(start)
        return
    _write(html, timeline_html.page(start))
    screen.line(f"wrote {html}")


def find(starts: list[Start], wanted: str) -> Start:
    """The latest start that is meant. Raises UsageError: none, or several containers."""
    parts = tuple(wanted.split("/"))
    if len(parts) > 1 and all(parts):
        found = [
            start for start in starts if (start.namespace, start.pod, start.container)[: len(parts)] == parts
        ]
    else:
        found = [start for start in starts if wanted and start.container_id.startswith(wanted)]
        ids = {start.container_id for start in found}
        if len(ids) > 1:
            raise UsageError(
                f"expected one start, got {len(ids)} containers whose id begins with {wanted[:80]!r}: type more of it"
            )
    if not found:
        raise UsageError(
            f"no start of {wanted[:80]!r} is on record: see `glowplug history`, or with --json "
            "the containers' ids"
        )
    return found[-1]


def _write(file: str, text: str) -> None:
    """Completely or not at all; through no link that somebody else may have laid there. Raises UsageError."""
    aside = f"{file}.{os.getpid()}.new"
    try:
        made = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with open(made, "w", encoding="utf-8") as opened:
                opened.write(text)
            os.rename(aside, file)
        except OSError:
            os.unlink(aside)
            raise
    except OSError as error:
        raise UsageError(f"can't write {file}: {error.strerror}") from error
