"""The index, config and manifest of an artifact: what was written is read, what was changed by anybody is refused."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests import checkpoint_made, registry_made

from glowplug.errors import GlowplugError, RegistryMiss
from glowplug.registry import config, index, names, oci
from glowplug.registry.index import Entry

FOUND, BLOBS = registry_made.index_of((b"a" * 300, b"b" * 300))
ARTIFACT, CONFIG = registry_made.artifact_of(FOUND, BLOBS, X25519PrivateKey.from_private_bytes(b"r" * 32))


def test_what_was_written_is_read() -> None:
    tree = (
        Entry("layer", index.DIRECTORY, 0o700),
        Entry("layer/tree", index.DIRECTORY, 0o755, uid=3, attributes={"trusted.overlay.opaque": "79"}),
        Entry("layer/tree/\udcff", index.SYMLINK, 0o777, target="/\udcfe"),
        Entry("layer/tree/dev", index.CHARACTER, 0o600, device=(1, 3), mtime_ns=-5),
        Entry("layer/tree/link", index.SYMLINK, link="layer/tree/\udcff"),
    )
    found = replace(FOUND, entries=(*FOUND.entries, *tree), streams=((0, -4096, 1), (1,)))
    assert index.loads(index.dumps(found)) == found
    assert list(index.places(found)) == [(0, 0, 0), (1, 0, 4396), (1, 1, 0)]
    assert oci.loads(oci.dumps(ARTIFACT)) == ARTIFACT
    assert config.loads(config.dumps(CONFIG)) == CONFIG
    oci.require_agreement(ARTIFACT, CONFIG)


def entry(**fields: Any) -> dict[str, Any]:
    return {"path": "images/x", "type": "file", "mode": 0o600, **fields}


@pytest.mark.parametrize(
    "added",
    [
        entry(path="../etc/passwd"),
        entry(path="/etc/passwd"),
        entry(path="images/../../x"),
        entry(path="images"),
        entry(path="images/core-0.img"),
        entry(path="images/core-0.img/x"),
        entry(path="nowhere/x"),
        entry(path="etc"),
        entry(path="manifest.json"),
        entry(path="images/none/x"),
        entry(path="images/x\0"),
        entry(path="images/" + "x" * 4000),
        entry(type="symlink", target="/etc"),
        entry(type="character", device=[1, 1]),
        entry(type="door"),
        entry(mode=0o100644),
        entry(mode=True),
        entry(uid=-1),
        entry(uid=1 << 32),
        entry(size=301, at=[0, 0]),
        entry(size=300, at=[0, 1]),
        entry(size=1, at=[2, 0]),
        entry(size=1, at=[-1, 0]),
        entry(size=-1),
        entry(link="images/core-0.img"),
        entry(link="images/core-9.img"),
        entry(surprise=1),
        entry(attributes={"user.x": "zz"}),
        "images/x",
    ],
)
def test_an_entry_that_leads_elsewhere_is_refused(added: object) -> None:
    plain = json.loads(index.dumps(FOUND))
    plain["entries"].append(added)
    with pytest.raises(RegistryMiss) as miss:
        index.loads(json.dumps(plain).encode())
    assert miss.value.slug == "damaged"


def test_nothing_is_written_through_a_link_of_the_tree() -> None:
    plain = json.loads(index.dumps(FOUND))
    plain["entries"] += [
        entry(path="layer", type="directory"),
        entry(path="layer/tree", type="directory"),
        entry(path="layer/tree/a", type="symlink", target="/etc"),
        entry(path="layer/tree/a/passwd", type="file"),
    ]
    with pytest.raises(RegistryMiss, match="directory does not come before it"):
        index.loads(json.dumps(plain).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("loads", "good"),
    [
        (index.loads, index.dumps(FOUND)),
        (config.loads, config.dumps(CONFIG)),
        (oci.loads, oci.dumps(ARTIFACT)),
    ],
)
@given(st.data())
def test_whatever_is_changed_gives_a_miss_or_a_sound_value(
    loads: Callable[[bytes], object], good: bytes, data: st.DataObject
) -> None:
    """Any part of a good document replaced by any JSON: RegistryMiss, and never another error."""
    plain = json.loads(good)
    place: Any = plain
    while isinstance(place, dict | list) and place:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place))))
        )
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = data.draw(JSON)
            break
        place = place[key]
    try:
        loads(json.dumps(plain).encode())
    except GlowplugError as error:
        assert isinstance(error, RegistryMiss)


@given(st.binary(max_size=200))
def test_no_bytes_are_a_document(data: bytes) -> None:
    for loads in (index.loads, config.loads, oci.loads):
        with pytest.raises(RegistryMiss):
            loads(data)


def test_a_manifest_and_config_of_two_artifacts_do_not_agree() -> None:
    other = replace(CONFIG, namespace="another")
    with pytest.raises(RegistryMiss, match="annotations"):
        oci.require_agreement(ARTIFACT, other)
    with pytest.raises(RegistryMiss, match="media types"):
        oci.require_agreement(ARTIFACT, replace(CONFIG, recipients=()))


def test_what_a_newer_glowplug_made_is_said_so() -> None:
    for loads, good in ((index.loads, index.dumps(FOUND)), (config.loads, config.dumps(CONFIG))):
        plain = json.loads(good) | {"version": 2}
        with pytest.raises(RegistryMiss) as miss:
            loads(json.dumps(plain).encode())
        assert miss.value.slug == "newer-artifact"


def test_no_name_of_a_pod_node_variable_or_process_is_in_the_open() -> None:
    """What is not encrypted: the manifest and the config."""
    manifest = checkpoint_made.manifest_of()
    in_the_open = (oci.dumps(ARTIFACT) + config.dumps(CONFIG)).decode()
    for secret in (manifest.pod, manifest.node, "API_KEY", "HOSTNAME", '"comm"', checkpoint_made.SECRET):
        assert secret not in in_the_open
    parts = json.dumps(manifest.key.parts)
    for keyed in set(re.findall(r"[0-9a-f]{32}", parts)) - {"0" * 32}:
        assert keyed not in in_the_open


def test_host_classes_differ_where_a_host_fact_must_be_equal() -> None:
    needs = CONFIG.requirements
    same = [replace(needs, kernel="6.1.9-21-amd64"), replace(needs, memory_limit=1)]
    other = [
        replace(needs, kernel="6.2.0"),
        replace(needs, driver="1.2"),
        replace(needs, arch="aarch64"),
        replace(needs, gpu_count=2),
    ]
    assert {names.host_class(one) for one in same} == {names.host_class(needs)}
    assert len({names.host_class(one) for one in other}) == len(other)
    assert names.host_class(needs) not in {names.host_class(one) for one in other}
    without = replace(needs, gpu_count=0)
    assert names.host_class(without) == names.host_class(
        replace(without, driver="other", gpu_products=("x",))
    )


def test_tags_are_tags() -> None:
    tags = ARTIFACT.tags
    assert names.is_checkpoint_tag(tags[0]) and names.is_host_tag(tags[1]) and len(tags[2]) == 40
    assert names.signed_by_tag(names.signature_tag("sha256:" + "a" * 64)) == "sha256:" + "a" * 64
    assert names.signed_by_tag("latest") == ""
    assert os.path.basename(tags[1]) == tags[1]
