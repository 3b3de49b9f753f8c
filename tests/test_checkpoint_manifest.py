"""Manifests: the same bytes for the same content, a published schema, and nothing but ManifestError for the rest."""

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.cache.check import checkpoint_id
from glowplug.checkpoint import key
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import File, Key, NewerManifest, dumps, loads
from glowplug.checkpoint.manifest_schema import MANIFEST, VERSION
from glowplug.errors import ManifestError

PUBLISHED = os.path.join(os.path.dirname(os.path.dirname(__file__)), "docs", "manifest.schema.json")
DATA = dumps(made.manifest_of())


def changed(**entries: Any) -> bytes:
    return json.dumps(json.loads(DATA) | entries).encode()


def test_a_manifest_comes_back_as_it_went() -> None:
    assert loads(DATA) == made.manifest_of()
    assert dumps(loads(DATA)) == DATA


def test_the_bytes_are_canonical() -> None:
    plain = json.loads(DATA)
    assert json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + b"\n" == DATA
    assert DATA.isascii()


def test_the_name_checks_the_manifest() -> None:
    assert len(checkpoint_id(DATA)) == 32
    assert checkpoint_id(DATA) != checkpoint_id(DATA + b"\n")


def test_the_runtime_finds_what_it_needs_in_plain_json() -> None:
    plain = json.loads(DATA)
    assert plain["namespace"] == "models"
    assert plain["key"]["digest"] == made.key_of().digest
    assert plain["files"]["images/core-1.img"]["size"] == 812
    assert plain["processes"][0]["uids"] == [1000] * 4


def test_the_published_schema_is_the_one_in_use() -> None:
    with open(PUBLISHED) as file:
        assert json.load(file) == MANIFEST


def test_a_manifest_is_valid_by_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    with open(PUBLISHED) as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(json.loads(DATA))
    assert not validator.is_valid(json.loads(changed(unheard_of=1)))


def test_a_newer_manifest_is_reported_as_such_whatever_else_it_holds() -> None:
    with pytest.raises(
        NewerManifest, match=f"expected version {VERSION} or older, got {VERSION + 1}"
    ) as caught:
        loads(json.dumps({"version": VERSION + 1, "anything": "else"}).encode())
    assert caught.value.version == VERSION + 1


BAD: list[tuple[str, bytes]] = [
    ("no JSON", b"{"),
    ("no JSON", b"\xff\xfe\xfd"),
    ("no JSON", b""),
    ("a list", b"[]"),
    ("too deep", b"[" * 100_000),
    ("too deep", b'{"a":' * 100_000),
    ("a huge number", b'{"version": ' + b"9" * 5000 + b"}"),
    ("an entry twice", DATA.rstrip()[:-1] + b',"version":1}'),
    ("NaN", b'{"version": NaN}'),
    ("infinity", b'{"version": 1e999}'),
    ("an old version", changed(version=0)),
    ("a version that is no number", changed(version="1")),
    ("a version that is true", changed(version=True)),
    ("an unknown entry", changed(unheard_of=1)),
    ("a missing entry", json.dumps({"version": VERSION}).encode()),
    ("no namespace", changed(namespace="")),
    ("another time", changed(created="yesterday")),
    ("no processes", changed(processes=[])),
    ("another key", changed(key={"digest": "0" * 64, "parts": {}})),
    ("a size below zero", changed(sizes={**json.loads(DATA)["sizes"], "layer": -1})),
    ("a fraction of a byte", changed(sizes={**json.loads(DATA)["sizes"], "layer": 1.0})),
    ("a flag for a size", changed(sizes={**json.loads(DATA)["sizes"], "layer": True})),
    ("text for a flag", changed(shared="no")),
    ("settings that are no text", changed(settings={"glowplug.dev/io-uring": 1})),
]


@pytest.mark.parametrize(("what", "data"), BAD)
def test_anything_else_is_a_manifest_error(what: str, data: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        loads(data)
    assert not isinstance(caught.value, NewerManifest)
    assert len(str(caught.value)) < 500


def test_a_number_without_bounds_is_refused_even_where_any_json_may_stand() -> None:
    parts: dict[str, object] = {"x": float("inf")}
    data = changed(key={"digest": key.digest(parts), "parts": parts})
    assert b"Infinity" in data
    for endless in (data, data.replace(b"Infinity", b"1e999")):
        with pytest.raises(ManifestError):
            loads(endless)


def test_no_number_of_levels_raises_anything_else() -> None:
    one = changed(key={"digest": "0" * 64, "parts": {"x": None}})
    for levels in range(800, 1010):
        nested = b"[" * levels + b"]" * levels
        with pytest.raises(ManifestError):
            loads(one.replace(b'"x": null', b'"x": ' + nested))


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a/.", "..", "a\0b", "images/\n/../../x"],
)
def test_a_path_that_leaves_the_checkpoint_is_refused(path: str) -> None:
    with pytest.raises(ManifestError):
        loads(changed(files={path: {"kind": "image", "size": 1, "digest": "blake3:" + "0" * 64}}))


@pytest.mark.parametrize(
    "path", ["images/core-1.img", "layer/tree/..hidden", "layer/tree/a b\n", "layer/tree/\udcff"]
)
def test_any_name_that_a_file_can_have_is_kept(path: str) -> None:
    files = {path: File("layer", 1, "blake3:" + "0" * 64)}
    assert loads(dumps(made.manifest_of(files=files))).files == files


@pytest.mark.parametrize(
    "digest", ["", "blake3:", "md5:" + "0" * 32, "blake3:" + "0" * 64 + "\n", "blake3:" + "G" * 64]
)
def test_a_digest_of_another_kind_is_refused(digest: str) -> None:
    with pytest.raises(ManifestError):
        loads(changed(files={"x": {"kind": "image", "size": 1, "digest": digest}}))


def test_a_key_with_an_unknown_part_is_never_published() -> None:
    holed = made.key_of(chain_id="")
    with pytest.raises(ManifestError):
        dumps(made.manifest_of(key=Key(holed.digest, holed.parts)))


def test_what_could_not_be_read_back_is_never_written() -> None:
    wrong: list[dict[str, Any]] = [{"created": "now"}, {"shared": None}, {"pod": 3}, {"measured": None}]
    for change in wrong:
        with pytest.raises(ManifestError):
            dumps(made.manifest_of(**change))
    with pytest.raises(ManifestError):
        dumps(made.manifest_of(measured=manifests.Measured(cold_start_s=float("nan"))))


def test_a_message_names_the_place_and_not_the_value() -> None:
    with pytest.raises(ManifestError) as caught:
        loads(changed(pod={"token": made.SECRET}))
    assert "manifest.pod: expected string, got object" in str(caught.value)
    assert made.SECRET not in str(caught.value)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_a_manifest_or_an_error(data: bytes) -> None:
    with pytest.raises(ManifestError):
        loads(data)


@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_flipped_bytes_give_a_manifest_or_an_error(place: int, replacement: bytes) -> None:
    data = DATA[:place] + replacement + DATA[place + len(replacement) :]
    try:
        loads(data)
    except ManifestError as error:
        assert str(error).startswith("manifest")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [above] + [path for name, item in inside for path in paths(item, (*above, name))]


@given(st.sampled_from(paths(json.loads(DATA))[1:]), JSON, st.booleans())
@settings(deadline=None, max_examples=500)
def test_any_json_in_any_place_gives_a_manifest_or_an_error(
    path: tuple[Any, ...], value: object, gone: bool
) -> None:
    plain = json.loads(DATA)
    node = plain
    for name in path[:-1]:
        node = node[name]
    if gone:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    try:
        found = loads(json.dumps(plain).encode())
    except ManifestError:
        return
    assert loads(dumps(found)) == found
