"""The configuration: defaults, and one clear error per wrong key."""

import os
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from glowplug import config, listen_address
from glowplug.errors import UsageError


def load(directory: Path, text: str) -> config.Config:
    return config.load(str(_written(directory, text)))


def test_what_is_not_set_has_its_default(tmp_path: Path) -> None:
    found = load(tmp_path, 'criu = "/opt/criu"\nrestore_deadline_s = 20\n')
    assert (found.criu, found.restore_deadline_s, found.cache) == ("/opt/criu", 20, config.Config().cache)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('criuu = "/x"', "criuu: no such key; there are: cache, "),
        ("criu = 7", "criu: expected a string, got 7"),
        ('criu = "bin/criu"', "criu: expected an absolute path, got 'bin/criu'"),
        ("cache_limit_bytes = true", "cache_limit_bytes: expected an integer, got True"),
        ("cache_limit_bytes = 1.5", "cache_limit_bytes: expected an integer, got 1.5"),
        ("restore_deadline_s = 61", "restore_deadline_s: expected more than 0 and at most 60, got 61"),
        ("restore_deadline_s = 0", "restore_deadline_s: expected more than 0 and at most 60, got 0"),
        ("keep_per_workload = 0", "keep_per_workload: expected more than 0, got 0"),
        (
            "min_free_bytes = -2",
            "min_free_bytes: expected 0 or more, or -1 for a fifth of the file system, got -2",
        ),
        ('mode = "of"', "mode: expected one of on, observe, off, got 'of'"),
        (
            'capture = "always"',
            "capture: expected one of ready, any-time, never, once-and-exit, got 'always'",
        ),
        ("max_concurrent_captures = 0", "max_concurrent_captures: expected more than 0, got 0"),
        ("criu = ", "expected TOML, got: "),
        (
            'containerd_namespace = ""',
            "containerd_namespace: expected a name of containerd's, such as k8s.io",
        ),
        ('containerd_namespace = "k8s io"', "containerd_namespace: expected a name of containerd's"),
        (r'criu = "/usr/sbin/criu\u0000"', "criu: expected an absolute path, got '/usr/sbin/criu\\x00'"),
        (
            r'kubernetes = "/etc/kubeconfig\n"',
            "kubernetes: expected auto, off or an absolute path, got '/etc",
        ),
        ("cache_max_age_s = nan", "cache_max_age_s: expected more than 0, got nan"),
        ('log_format = "xml"', "log_format: expected logfmt or json, got 'xml'"),
        ('kubernetes = "on"', "kubernetes: expected auto, off or an absolute path, got 'on'"),
        ('metrics_listen = ":9464"', "metrics_listen: expected ADDRESS:PORT with an IP address, got ':9464'"),
        ('metrics_listen = "::1:9464"', "metrics_listen: expected "),
        ('metrics_listen = "127.0.0.1:0"', "metrics_listen: expected "),
        ('metrics_listen = "127.0.0.1:٣"', "metrics_listen: expected "),
    ],
)
def test_a_wrong_key_is_reported(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, text)
    assert said in str(error.value)
    assert str(tmp_path / "config.toml") in str(error.value)


def test_a_file_that_was_reported_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no configuration"):
        config.load(str(tmp_path / "none.toml"))


def test_a_file_that_can_t_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't read it: Is a directory"):
        config.load(str(tmp_path))


def test_every_wrong_key_has_a_line(tmp_path: Path) -> None:
    _, values = config.read(str(_written(tmp_path, 'criuu = "/x"\ncriu = 7\nrunc = "/usr/sbin/runc"\n')))
    assert [line.split(":")[0] for line in config.problems(values)] == ["criuu", "criu"]


def test_the_first_one_is_reported_with_the_number_of_the_others(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"criuu: no such key.* \(and 1 more: `glowplug config check`\)"):
        load(tmp_path, 'criuu = "/x"\ncriu = 7\n')


@pytest.mark.parametrize(("total", "floor"), [(10 << 30, 5 << 30), (250 << 30, 50 << 30)])
def test_the_floor_is_above_the_kubelet_s_eviction_thresholds(
    total: int, floor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of the file system: pods are evicted at 10 % of nodefs and 15 % of imagefs."""
    size = os.statvfs_result((4096, 4096, total // 4096, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: size)
    assert config.min_free(config.Config(cache=f"{tmp_path}/not/there/yet")) == floor
    assert config.min_free(config.Config(cache=str(tmp_path), min_free_bytes=7)) == 7


def test_addresses_of_both_kinds() -> None:
    assert listen_address.parse("127.0.0.1:9464") == ("127.0.0.1", 9464)
    assert listen_address.parse("[::1]:9464") == ("::1", 9464)


def test_the_docs_have_every_key_with_its_default() -> None:
    docs = Path(__file__).parent.parent / "docs" / "config.md"
    rows = [line.split("|")[1:3] for line in docs.read_text().splitlines() if line.startswith("| `")]
    reported = {key.strip(" `"): tomllib.loads(f"default = {default.strip(' `')}") for key, default in rows}
    keys = asdict(config.Config())
    del keys["registry"], keys["presets"]  # tables with a page of their own
    assert reported == {name: {"default": default} for name, default in keys.items()}


def _written(directory: Path, text: str) -> Path:
    file = directory / "config.toml"
    file.write_text(text)
    return file
