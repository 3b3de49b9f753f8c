"""Every template is in an installation too, and has its owner's version in it."""

import fnmatch
import os
import tomllib

import pytest
import yaml

from glowplug import __version__
from glowplug.criu import config
from glowplug.node import templates

REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


@pytest.mark.parametrize("name", templates.names())
def test_each_is_installed(name: str) -> None:
    with open(f"{REPOSITORY}/pyproject.toml", "rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["data-files"]
    patterns = [pattern for folder in listed.values() for pattern in folder]
    place = os.path.dirname(f"runtime_config/{name}")
    matching = [
        pattern
        for pattern in patterns
        if os.path.dirname(pattern) == place and fnmatch.fnmatch(f"runtime_config/{name}", pattern)
    ]
    assert len(matching) == 1
    folder = next(folder for folder, found in listed.items() if matching[0] in found)
    assert folder == f"share/glowplug/{place}"


def test_the_image_is_of_this_version() -> None:
    found = yaml.safe_load(templates.read("kustomize/base/kustomization.yaml"))
    assert [image["newTag"] for image in found["images"]] == [__version__]


def test_criu_is_known_by_others_what_it_is_known_by_us() -> None:
    lines = templates.read("criu/runc.conf").splitlines()
    reported = [line for line in lines if line and not line.startswith("#")]
    assert reported == ["network-lock skip"]
    assert set(reported) <= set(config.dump().splitlines())
