"""The annotations of ours as they apply to one container: which of them count in its key, and which may be shown."""

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts

# Annotations that say whether to capture or restore, and nothing about the process or the state that it is captured
# in (rule 6.2). Any other one of ours counts: ready, the engine and the hooks, because a process put to sleep by one
# hook is woken by the other; and one that this version has not heard of.
NEUTRAL = frozenset(
    OWN_ANNOTATIONS + name
    for name in (
        "accept",
        "after-capture",
        "capture",
        "containers",
        "hook-timeout",
        "ignore-env",
        "max-pause",
        "outcome",
        "registry",
        "registry-wait",
        "restore",
        "restored-signal",
        "share",
        "trial",
    )
)

# Those that may name a container: glowplug.dev/ready.server.
PER_CONTAINER = frozenset(
    (
        "after-restore",
        "before-capture",
        "canary",
        "canary-body",
        "compile-cache",
        "engine",
        "ready",
        "weights",
    )
)

# What a manifest may show in the open.
SHOWN = tuple(OWN_ANNOTATIONS + name for name in ("io-uring", "mptcp", "registry"))


def counting(facts: BundleFacts) -> dict[str, str]:
    """Those that count (rule 6.2): NAME.CONTAINER goes before NAME, another container's says nothing."""
    found: dict[str, str] = {}
    for full, value in sorted(facts.annotations.items()):  # "ready" comes before "ready.server"
        name, dot, container = full.partition(".dev/")[2].partition(".")
        if OWN_ANNOTATIONS + name in NEUTRAL:
            continue
        if name not in PER_CONTAINER:
            found[full] = value
        elif not dot or container == facts.container_name:
            found[OWN_ANNOTATIONS + name] = value.strip()
    return {name: value for name, value in found.items() if value}


def shown(facts: BundleFacts) -> dict[str, str]:
    """Those without a secret, for the manifest's `settings`."""
    return {name: value for name, value in sorted(facts.annotations.items()) if name in SHOWN}
