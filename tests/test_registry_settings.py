"""[registry] in config.toml: one clear line per wrong key, and a page that has every key."""

import os
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from glowplug import config
from glowplug.errors import UsageError
from glowplug.registry import fleet, keys
from glowplug.registry.settings import RegistrySettings

DOCS = Path(__file__).parent.parent / "docs" / "registry.md"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registry = 7", "registry: expected a table, got 7"),
        ("[registry]\nrepo = 'x'", "registry.repo: no such key; there are: ca, "),
        (
            "[registry]\nrepository = 'https://x/y'",
            "registry.repository: expected HOST[:PORT]/PATH in lower case",
        ),
        ("[registry]\nrepository = 'host/Upper'", "registry.repository: expected HOST"),
        ("[registry]\npolicy = 'on'", "registry.policy: expected one of off, push, pull, both, got 'on'"),
        (
            "[registry]\nca = 'ca.pem'",
            "registry.ca: expected an absolute path, or secret:NAMESPACE/NAME/KEY, got 'ca.pem'",
        ),
        ("[registry]\nparallel = 0", "registry.parallel: expected an integer from 1 to 64, got 0"),
        ("[registry]\nmirrors = ['mirror']", "registry.mirrors: expected a list of https://HOST[:PORT]"),
        (
            "[registry]\nserve = 'host:1'",
            "registry.serve: expected ADDRESS:PORT with an IP address, got 'host:1'",
        ),
        (
            "[registry]\nserve_bytes_per_s = -1",
            "registry.serve_bytes_per_s: expected 0 or more bytes, got -1",
        ),
        ("[registry]\npeers = ['http://a']", "registry.peers: expected a list of https://HOST[:PORT]"),
        (
            "[registry]\nserve = '0.0.0.0:1'\nkey = '/k'",
            "registry.serve: nodes speak with each other by certificates: set peer_ca, certificate",
        ),
        (
            "[registry.trust]\nmodels = '/x'",
            "registry.trust: expected absolute paths, or Secrets, by namespace",
        ),
    ],
)
def test_a_wrong_key_is_reported(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        config.load(str(tmp_path / "config.toml"))
    assert said in str(error.value)


def test_the_table_of_the_docs_is_read(tmp_path: Path) -> None:
    example = DOCS.read_text().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "config.toml").write_text(example)
    found = config.load(str(tmp_path / "config.toml"))
    assert found.registry.path("models") == "glowplug/models"
    assert found.registry.trust == {"*": ("/etc/glowplug/sign.pub",)}
    assert (
        config.Config(**asdict(found)).registry == found.registry
    )  # as it travels to a process that captures


def test_the_docs_have_every_key_with_its_default() -> None:
    section = DOCS.read_text().partition("## Configuration\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    defaults = asdict(RegistrySettings())
    reported = {key.strip(" `"): tomllib.loads(f"x = {default.strip(' `')}")["x"] for key, default in rows}
    assert reported == {**defaults, "mirrors": [], "peers": []}


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(os.urandom(32))
    file.chmod(0o644)
    with pytest.raises(UsageError, match="others may read it"):
        fleet.secret(RegistrySettings(fleet_secret=str(file)))
    file.chmod(0o600)
    assert len(fleet.secret(RegistrySettings(fleet_secret=str(file)))) == 32
    file.write_bytes(b"short")
    with pytest.raises(UsageError, match="at least 32 random bytes, this has 5"):
        fleet.secret(RegistrySettings(fleet_secret=str(file)))


def test_namespaces_have_secrets_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(bytes(32))
    file.chmod(0o600)
    found = RegistrySettings(fleet_secret=str(file))
    assert len({fleet.chunk_secret(found, name) for name in ("a", "b", "a")}) == 2


def test_without_a_key_nothing_is_taken_in_or_encrypted(tmp_path: Path) -> None:
    found = RegistrySettings(trust={"other": ("/x",)})
    with pytest.raises(UsageError, match="trust names no key for namespace models"):
        keys.trusted(found, "models")
    with pytest.raises(UsageError, match="recipients names no key for namespace models"):
        keys.recipients(found, "models")
    with pytest.raises(UsageError, match="sign_key is not set"):
        keys.signing(found)
