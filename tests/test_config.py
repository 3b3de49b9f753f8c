"""The configuration: defaults, and one clear error per wrong key."""

from pathlib import Path

import pytest

from glowplug import config
from glowplug.errors import UsageError


def load(directory: Path, text: str) -> config.Config:
    file = directory / "config.toml"
    file.write_text(text)
    return config.load(str(file))


def test_what_is_not_set_has_its_default(tmp_path: Path) -> None:
    found = load(tmp_path, 'criu = "/opt/criu"\nrestore_deadline_s = 20\n')
    assert (found.criu, found.restore_deadline_s, found.cache) == ("/opt/criu", 20, config.Config().cache)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('criuu = "/x"', "criuu: no such key; there are: cache, "),
        ("criu = 7", "criu: wanted a string, found 7"),
        ('criu = "bin/criu"', "criu: wanted an absolute path, found 'bin/criu'"),
        ("cache_limit_bytes = true", "cache_limit_bytes: wanted a whole number, found True"),
        ("cache_limit_bytes = 1.5", "cache_limit_bytes: wanted a whole number, found 1.5"),
        ("restore_deadline_s = 61", "restore_deadline_s: wanted more than 0 and at most 60, found 61"),
        ("restore_deadline_s = 0", "restore_deadline_s: wanted more than 0 and at most 60, found 0"),
        ("cache_newest = 0", "cache_newest: wanted more than 0, found 0"),
        ("free_floor_bytes = -1", "free_floor_bytes: wanted 0 or more, found -1"),
        ("criu = ", "wanted TOML, found: "),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, text)
    assert said in str(error.value)
    assert str(tmp_path / "config.toml") in str(error.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found no such file"):
        config.load(str(tmp_path / "none.toml"))
