"""runc's command line, read as runc reads it; what is not understood is runc's business."""

import pytest

from glowplug.runtime import argv


def test_containerd_s_create() -> None:
    words = (
        "--root /r --log /b/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/p id"
    )
    command = argv.parse(words.split())
    assert (command.verb, command.container, command.root, command.bundle) == ("create", "id", "/r", "/b")
    assert command.options["log"] == "/b/log.json"
    assert command.flags == {"systemd-cgroup"}


def test_short_and_joined_options() -> None:
    command = argv.parse(["-root=/r", "--debug", "create", "-b", "/b", "--pid-file=/p", "--no-pivot", "id"])
    assert (command.root, command.bundle, command.options["pid-file"]) == ("/r", "/b", "/p")


def test_runc_s_own_defaults() -> None:
    command = argv.parse(["delete", "--force", "id"])
    assert (command.root, command.bundle, command.flags) == ("/run/runc", ".", {"force"})


@pytest.mark.parametrize(
    "words",
    [
        "",
        "create",
        "create a b",
        "--new-option x create id",
        "create --new id",
        "run id",
        "--root",
        "create --bundle",
    ],
)
def test_what_is_not_understood(words: str) -> None:
    with pytest.raises(argv.Unknown):
        argv.parse(words.split())
