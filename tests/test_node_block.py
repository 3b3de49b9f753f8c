"""A block goes into any text and comes out of it byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.errors import NodeError
from glowplug.node import block, imports

TEXTS = st.binary(max_size=200).filter(lambda text: b"glowplug" not in text) | st.lists(
    st.sampled_from([b"", b"\n", b"\r\n", b"# comment\n", b"[a]\n", b'b = "c"', b"imports = [", b"]\n"])
).map(b"".join)
BODY = 'a = "b"\n[c]\n'


@given(TEXTS)
def test_at_the_end(text: bytes) -> None:
    edited = block.at(text, len(text), BODY, "x")
    assert block.present(edited, "x") and not block.present(edited, "y")
    assert block.without(edited, "x") == text


@given(TEXTS)
def test_at_the_top(text: bytes) -> None:
    assert block.without(block.at_top(text, BODY, "x"), "x") == text


@given(TEXTS)
def test_several_blocks_of_several_handlers(text: bytes) -> None:
    edited = block.at(block.at_top(block.at_top(text, BODY, "y"), BODY, "x"), 0, BODY, "z")
    assert block.without(block.without(block.without(edited, "z"), "x"), "y") == text


@pytest.mark.parametrize(
    "text",
    [
        b'imports = ["/a"]\n',
        b"imports=[]",
        b'version = 3\n  imports = [\n  "/a",\n  "/b"\n]\n[plugins]\n',
        b"\"imports\" = ['/a'] # imports = [\n",
    ],
)
def test_an_import_comes_and_goes(text: bytes) -> None:
    import tomllib

    before = tomllib.loads(text.decode())
    edited = imports.added(text, before["imports"], "/new.toml", "x")
    assert tomllib.loads(edited.decode()) == {**before, "imports": ["/new.toml", *before["imports"]]}
    assert block.without(edited, "x") == text


def test_a_form_that_is_not_understood_is_refused() -> None:
    with pytest.raises(NodeError, match="by hand"):
        imports.added(b"imports = 7\n", [], "/new.toml", "x")


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([], None),
        (["/etc/containerd/conf.d/*.toml"], "/etc/containerd/conf.d"),
        (["conf.d/*.toml"], "/etc/containerd/conf.d"),
        (["/a.toml", "/x/*/*.toml", "/y/*"], "/y"),
        (["/x/[a-z].toml"], None),
    ],
)
def test_an_imported_directory_is_found(listed: list[str], found: str | None) -> None:
    assert imports.directory(listed, "/etc/containerd/config.toml") == found
