"""What a checkpoint and a container must agree on beyond the digest of their keys, rule by rule.

A condition is a fact of which a difference matters in some cases only, so that hashing it would part pods that belong
together. All are keyed hashes; their names are shown.

    service_links   prefix → its group: where both have a service, it must be the same (rule 3.4)
    account         uid of the service account: the same within one namespace (rule 7.2)
    namespace       uid of the Kubernetes namespace: the same within one name (rule 7.2)
    volumes         place → state of a volume that can be written to: as it was when the process was frozen (rule 4.4)
"""

from collections.abc import Mapping

from glowplug.checkpoint.reason import UNKNOWN, Reason

Conditions = Mapping[str, object]


def compare(captured: Conditions, wanted: Conditions, *, same_namespace: bool) -> list[Reason]:
    """Every condition that is not met. `same_namespace`: the checkpoint is of the pod's own."""
    reasons = [] if same_namespace else _no_link_more(captured, wanted)
    reasons += _links(captured, wanted)
    if same_namespace:
        reasons += _owner("service account", captured.get("account"), wanted.get("account"))
        reasons += _owner("namespace's uid", captured.get("namespace"), wanted.get("namespace"))
    return reasons + _volumes(captured, wanted)


def _links(captured: Conditions, wanted: Conditions) -> list[Reason]:
    """Rule 3.4. A service that is gone, or new, is none: the process knows of it by name, or not at all."""
    mine, theirs = _table(captured, "service_links"), _table(wanted, "service_links")
    return [
        Reason(f"service {prefix}", "the captured address and ports", "others", "service-links")
        for prefix in sorted(mine.keys() & theirs.keys())
        if mine[prefix] != theirs[prefix]
    ]


def _no_link_more(captured: Conditions, wanted: Conditions) -> list[Reason]:
    """Rule 7.3: the services of another namespace are not this pod's, and the process would continue using them."""
    missing = _table(captured, "service_links").keys() - _table(wanted, "service_links").keys()
    return [
        Reason(f"service {prefix}", "the captured address and ports", "no such service", "service-links")
        for prefix in sorted(missing)
    ]


def _owner(what: str, captured: object, wanted: object) -> list[Reason]:
    """Rule 7.2. Where the capture knew it, unknown now is another."""
    if captured is None or captured == wanted:
        return []
    return [Reason(what, "the captured one", UNKNOWN if wanted is None else "another", "namespace")]


def _volumes(captured: Conditions, wanted: Conditions) -> list[Reason]:
    """Rule 4.4. Memory of a state that the volume has left would overwrite what was written since."""
    mine, theirs = _table(captured, "volumes"), _table(wanted, "volumes")
    return [
        Reason(
            f"volume {place}",
            "the state at the capture",
            UNKNOWN if theirs.get(place) is None else "written to since",
            "volume-state",
        )
        for place in sorted(mine.keys() | theirs.keys())
        if mine.get(place) is None or mine.get(place) != theirs.get(place)
    ]


def _table(conditions: Conditions, name: str) -> Mapping[str, object]:
    found = conditions.get(name)
    return found if isinstance(found, Mapping) else {}
