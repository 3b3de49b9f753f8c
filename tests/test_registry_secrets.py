"""Keys and credentials of the registry from Kubernetes Secrets, by API, and never on a disk."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from integration import certificates
from tests import api_server

from glowplug.config import Config
from glowplug.errors import KubernetesError, UsageError
from glowplug.registry import credentials, keys, kubernetes_secrets
from glowplug.registry.settings import RegistrySettings

LOGIN = {"auths": {"registry.test": {"username": "robot", "password": "the robot's word"}}}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    registry = RegistrySettings(
        repository="registry.test/x",
        credentials="secret:{namespace}/login/.dockerconfigjson",
        sign_key="/etc/glowplug/sign.key",
        trust={"*": ("secret:glowplug/fleet/sign.pub",), "other": ("secret:other/none/none",)},
        recipients={"*": ("/etc/glowplug/{namespace}.pub",)},
        identities={"*": ("secret:{namespace}/glowplug/identity.key",)},
    )
    return Config(cache=str(tmp_path / "cache"), registry=registry)


def filled(server: api_server.ApiServer, directory: Path) -> None:
    """Secrets of the namespace models, and of Glowplug's own."""
    identity, _ = certificates.recipient_pair(str(directory), "identity")
    _, trusted = certificates.signing_pair(str(directory), "sign")
    with open(identity, "rb") as private, open(trusted, "rb") as public:
        server.secrets = {
            ("models", "glowplug"): {"identity.key": private.read()},
            ("models", "login"): {".dockerconfigjson": json.dumps(LOGIN).encode()},
            ("glowplug", "fleet"): {"sign.pub": public.read()},
        }


def with_kubeconfig(config: Config, server: api_server.ApiServer, directory: Path) -> Config:
    return Config(
        cache=config.cache, registry=config.registry, kubernetes=server.kubeconfig(f"{directory}/kubeconfig")
    )


def secrets_in_memory() -> list[str]:
    """Descriptors of this process that have one."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [one for one in found if one.startswith("/memfd:glowplug-secret")]


def test_each_reference_is_read_for_its_namespace(config: Config, tmp_path: Path) -> None:
    with api_server.serving() as server:
        filled(server, tmp_path)
        known = with_kubeconfig(config, server, tmp_path)
        with kubernetes_secrets.registry(known, "models") as settings:
            assert credentials.of(settings.credentials, "registry.test").password == "the robot's word"
            assert len(keys.identities(settings, "models")) == len(keys.trusted(settings, "models")) == 1
            assert settings.sign_key == "/etc/glowplug/sign.key"
            assert settings.recipients == {"models": ("/etc/glowplug/{namespace}.pub",)}
        assert secrets_in_memory() == []
        place = "GET /api/v1/namespaces"
        assert server.requests == [
            f"{place}/models/secrets/login",
            f"{place}/glowplug/secrets/fleet",
            f"{place}/models/secrets/glowplug",
        ]


def test_secrets_of_a_process_are_in_its_memory_alone(config: Config, tmp_path: Path) -> None:
    with api_server.serving() as server:
        filled(server, tmp_path)
        with kubernetes_secrets.registry(with_kubeconfig(config, server, tmp_path), "models") as settings:
            (path,) = settings.identities["models"]
            assert os.readlink(path).startswith("/memfd:")
            assert os.stat(path).st_mode & 0o777 == 0o600


def test_what_is_missing_is_said_by_name(config: Config, tmp_path: Path) -> None:
    with api_server.serving() as server:
        filled(server, tmp_path)
        known = with_kubeconfig(config, server, tmp_path)
        del server.secrets["models", "glowplug"]["identity.key"]
        with (
            pytest.raises(UsageError, match=r"^Secret models/glowplug has no key identity\.key$"),
            kubernetes_secrets.registry(known, "models"),
        ):
            pass
        del server.secrets["models", "login"]
        with pytest.raises(KubernetesError, match="read_namespaced_secret: the API server answered 404"):
            kubernetes_secrets.registry(known, "models").__enter__()


def test_without_an_api_server_it_says_so(config: Config) -> None:
    with (
        pytest.raises(UsageError, match="names a Kubernetes Secret, and no API server"),
        kubernetes_secrets.registry(Config(registry=config.registry, kubernetes="off"), "models"),
    ):
        pass


def test_settings_without_a_reference_ask_nobody(config: Config) -> None:
    plain = Config(registry=RegistrySettings(repository="registry.test/x"), kubernetes="off")
    with kubernetes_secrets.registry(plain, "models") as settings:
        assert settings == plain.registry
