"""`glowplug capture`: make a checkpoint of a running container."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.status import Status

from glowplug.capture.request import Report, Request, Result
from glowplug.cli.root import require_root
from glowplug.config import Config
from glowplug.errors import GlowplugError, UsageError


@click.command()
@click.option("--namespace", "-n", required=True, metavar="NS", help="The pod's Kubernetes namespace.")
@click.option("--stop", is_flag=True, help="End the container after the capture; by default it runs on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing else.")
@click.option("--config", "path", metavar="FILE", help="Configuration; default /etc/glowplug/config.toml.")
@click.argument("pod")
@click.argument("container", required=False)
def capture(
    namespace: str, stop: bool, as_json: bool, path: str | None, pod: str, container: str | None
) -> None:
    """Make a checkpoint of a running container of POD.

    CONTAINER may be left out where the pod has one. The container is paused while its memory is written,
    and continues where it was.
    """
    from glowplug.config import load

    require_root("a capture reads the memory of a process")
    request = Request(namespace, pod, container, stop)
    config = load(path)
    if as_json:
        result = _run(config, request, lambda step, text: None)
        click.echo(json.dumps(asdict(result)))
        return
    console = Console(highlight=False)
    with console.status("") as status:
        result = _run(config, request, _progress(console, status))
    _show(console, result)


def _run(config: Config, request: Request, report: Report) -> Result:
    """The capture, put on record; one that was refused is an event for the caller only. Raises GlowplugError."""
    from glowplug.capture import pipeline
    from glowplug.outcomes import capture_outcome

    try:
        result = pipeline.run(config, request, report)
    except UsageError:
        raise
    except GlowplugError as error:
        capture_outcome.not_captured(request, error, "command")
        raise
    capture_outcome.captured(result, "command")
    return result


def _progress(console: Console, status: Status) -> Report:
    """On a terminal a line that changes; in a pipe a line per step."""

    def report(step: str, text: str) -> None:
        if console.is_terminal:
            status.update(f"{step}: {text}" if text else step)
        else:
            console.print(f"{step}: {text}" if text else step)

    return report


def _show(console: Console, result: Result) -> None:
    console.print(
        f"captured {result.namespace}/{result.pod}/{result.container} as {result.checkpoint}: "
        f"{result.bytes / 1e6:.0f} MB, paused {result.pause_s:.2f} s "
        f"(predicted {result.predicted_pause_s:.2f} s)",
        soft_wrap=True,
    )
