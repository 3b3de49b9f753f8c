"""Restores with kills at random moments, or undisturbed: a table of their outcomes (hack/torture)."""

import os
import sys
import time

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration.torture import KINDS, UNDISTURBED, Report, Torture, Try


@click.command(help=__doc__)
@click.option("--kills", type=click.IntRange(1), help="So many starts, somebody killed in each.")
@click.option("--restores", type=click.IntRange(1), help="So many restores, undisturbed.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random moments and victims.")
@click.option(
    "--kind", type=click.Choice(KINDS), multiple=True, help="Who is killed; any of them by default."
)
@click.option("--seconds", type=float, default=7200.0, show_default=True, help="Stop after so long.")
def main(kills: int | None, restores: int | None, seed: int, kind: tuple[str, ...], seconds: float) -> None:
    """Exit status 1 where one did not serve or anything was left."""
    if bool(kills) == bool(restores):
        raise click.UsageError("give either --kills or --restores")
    began = time.monotonic()
    with Torture(seed, kind or KINDS) as torture:
        run = torture.kills if kills else torture.restores
        report = run(kills or restores or 0, began + seconds, say)
        show(report, kills or restores or 0, time.monotonic() - began)
    sys.exit(1 if report.bad else 0)


def say(one: Try) -> None:
    if one.bad:
        click.echo(f"bad: {one.killed} killed: {one.bad}", err=True)


def show(report: Report, wanted: int, seconds: float) -> None:
    for row in report.rows():
        click.echo(row)
    click.echo(report.seconds())
    for line in report.bad:
        click.echo(f"bad: {line}")
    done = len(report.tries) - UNDISTURBED
    short = f" of {wanted}" if done < wanted else ""
    click.echo(f"{done}{short} starts in {seconds:.0f} s, {len(report.bad)} bad")


if __name__ == "__main__":
    main()
