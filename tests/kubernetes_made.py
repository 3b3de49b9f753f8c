"""Kubernetes objects checked against the API's own schemas, of the oldest and the newest version that we speak of."""

from collections.abc import Iterable
from typing import Any

import kubernetes_validate
import yaml

VERSIONS = ("1.25", "1.31", "1.37")

Object = dict[str, Any]


def objects(text: str) -> list[Object]:
    """The documents of a YAML text, empty ones left out."""
    return [one for one in yaml.safe_load_all(text) if one is not None]


def check(found: Iterable[Object]) -> None:
    """Raises kubernetes_validate.ValidationError: an unknown field, a wrong type, one that is missing."""
    for one in found:
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)


def by_name(found: Iterable[Object]) -> dict[tuple[str, str], Object]:
    """Kind and name → object."""
    return {(one["kind"], one["metadata"]["name"]): one for one in found}
