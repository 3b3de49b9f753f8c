"""How long it takes to judge a pod whose namespace has a thousand services, whose links are 7,000 variables of its env.

What the agent does of it at each start, without containerd: the spec is read, its key made, and the judgement
written as text, read again and compared with a checkpoint's. Milliseconds.
"""

import itertools
import json
import os
import statistics
import sys
import time

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, conditions, judgement
from glowplug.checkpoint.key import workload_key


@click.command()
@click.option("--services", default=1000, show_default=True, type=click.IntRange(0), help="In the namespace.")
@click.option("--runs", default=50, show_default=True, type=click.IntRange(10), help="Judgements.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(services: int, runs: int, file: str | None) -> None:
    """Judgements of a pod with many service links."""
    text = json.dumps(_spec(services))
    took: dict[str, list[float]] = {}
    for _ in range(runs):
        before = time.process_time()
        for step, seconds in _judged(text).items():
            took.setdefault(step, []).append(seconds * 1000)
        took.setdefault("cpu", []).append((time.process_time() - before) * 1000)
    figures = {
        "services": services,
        "variables": len(json.loads(text)["process"]["env"]),
        "p50_ms": {step: round(statistics.median(all_), 2) for step, all_ in took.items()},
        "max_ms": {step: round(max(all_), 2) for step, all_ in took.items()},
    }
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _spec(services: int) -> dict[str, object]:
    found = made.spec()
    for number in range(services):
        links = made.service(f"TEAM_SERVICE_{number}", f"10.96.{number // 256}.{number % 256}", 80)
        found["process"]["env"] += [one for one in links if "_SERVICE_PORT_HTTP=" not in one]
    return found


def _judged(text: str) -> dict[str, float]:
    """Seconds of each step of one judgement, and of all."""
    moments = {"": time.perf_counter()}
    spec = json.loads(text)
    facts = bundle.read(spec)
    moments["read"] = time.perf_counter()
    key = workload_key(facts, made.CHAIN, made.SANDBOX_FACTS, made.ANSWERS, made.SALT)
    moments["key"] = time.perf_counter()
    hashed = judgement.spec_hash(made.SALT, spec)
    found = judgement.make(made.CONTAINER, facts, key, (), spec=hashed, edited=hashed, salt=made.SALT)
    kept = judgement.loads(judgement.dumps(found))
    moments["keep"] = time.perf_counter()
    reasons = conditions.compare(kept.key.conditions, key.conditions, same_namespace=True)
    moments["compare"] = time.perf_counter()
    if not key.digest or reasons or kept.key.digest != key.digest:
        raise click.ClickException("a pod is to match itself")
    names = list(moments)
    steps = {name: moments[name] - moments[before] for before, name in itertools.pairwise(names)}
    return {**steps, "all": moments[names[-1]] - moments[""]}


if __name__ == "__main__":
    main()
