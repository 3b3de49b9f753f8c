"""`glowplug explain`: why a container started as it did, and what every checkpoint says to it."""

import click

from glowplug.cli import options
from glowplug.cli.root import require_root
from glowplug.errors import UsageError


@click.command()
@click.option("--namespace", "-n", metavar="NS", help="The pod's Kubernetes namespace; default: default.")
@click.option(
    "--spec",
    metavar="FILE",
    help="Before a start: an OCI config.json, its bundle's directory, or a Kubernetes manifest.",
)
@click.option("--all", "everything", is_flag=True, help="Every reason, however many there are.")
@options.as_json
@options.config
@click.argument("pod", required=False)
@click.argument("container", required=False)
def explain(
    namespace: str | None,
    spec: str | None,
    everything: bool,
    as_json: bool,
    path: str | None,
    pod: str | None,
    container: str | None,
) -> None:
    """Show why the containers of POD started cold or were restored, and the verdict on every checkpoint.

    The verdict is that of this moment: what a start of the same spec would meet now. Only checkpoints that
    the pod's namespace may use are shown, and of secrets only their names.
    """
    from glowplug.cli import explain_pod, explain_spec
    from glowplug.config import load

    require_root("the verdict reads containers and checkpoints")
    if (pod is None) == (spec is None):
        raise UsageError("expected POD or --spec FILE, got " + ("neither" if pod is None else "both"))
    config = load(path)
    if spec is not None:
        explain_spec.run(config, spec, namespace, everything=everything, as_json=as_json)
    else:
        assert pod is not None
        explain_pod.run(
            config, namespace or "default", pod, container, everything=everything, as_json=as_json
        )
