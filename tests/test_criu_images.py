"""CRIU's image format: what is not touched survives byte for byte, and garbage is an ImageError only."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import ImageError

NUMBERS = st.integers(0, 2**64 - 1)
FIELDS = st.lists(
    st.tuples(st.integers(1, 1 << 20), st.one_of(NUMBERS, st.binary(max_size=40))),
    max_size=12,
)


def message(fields: list[tuple[int, int | bytes]]) -> bytes:
    built = b""
    for number, value in fields:
        one = Message()
        if isinstance(value, bytes):
            one.put_octets(number, value)
        else:
            one.put_integer(number, value)
        built += one.encode()
    return built


@given(FIELDS)
def test_a_message_is_written_as_it_was_read(fields: list[tuple[int, int | bytes]]) -> None:
    data = message(fields)
    assert Message(data).encode() == data


@given(FIELDS, st.integers(1, 30), NUMBERS)
def test_changing_one_field_leaves_all_others(
    fields: list[tuple[int, int | bytes]], number: int, value: int
) -> None:
    changed = Message(message(fields))
    changed.put_integer(number, value)
    again = Message(changed.encode())
    assert again.integer(number) == value
    again.remove(number)
    assert again.encode() == message([field for field in fields if field[0] != number])


@given(st.lists(NUMBERS, max_size=8))
def test_repeated_integers_are_read_packed_and_unpacked(values: list[int]) -> None:
    unpacked = Message()
    unpacked.put_integers(7, values)
    packed = Message()
    packed.put_octets(7, b"".join(_bare(value) for value in values))
    assert Message(unpacked.encode()).integers(7) == Message(packed.encode()).integers(7) == values


def test_fixed_width_fields_are_kept() -> None:
    data = bytes.fromhex("09 0102030405060708") + bytes.fromhex("15 01000000")
    assert Message(data).integer(1) == 0x0807060504030201
    assert Message(data).integer(2) == 1
    assert Message(data).encode() == data


@pytest.mark.parametrize(
    "data", ["00", "08", "0a05 61", "0b", "09 01", "15 01", "08" + "ff" * 10 + "01", "07"], ids=str
)
def test_damaged_messages_are_refused(data: str) -> None:
    with pytest.raises(ImageError):
        Message(bytes.fromhex(data))


@given(st.binary(max_size=200))
def test_garbage_raises_only_image_errors(data: bytes) -> None:
    try:
        found = Message(data)
    except ImageError:
        return
    assert found.encode() == data
    for number in range(1, 20):
        for read in (found.integer, found.integers, found.octets, found.message, found.messages):
            try:
                read(number)
            except ImageError:
                continue


@given(st.lists(st.binary(max_size=60), max_size=6), st.data())
def test_a_cut_image_is_refused_or_shorter(entries: list[bytes], data: st.DataObject) -> None:
    complete = images.build(entries, "pstree")
    assert images.parse(complete, "pstree", "pstree.img") == entries
    cut = complete[: data.draw(st.integers(0, len(complete) - 1))]
    try:
        found = images.parse(cut, "pstree", "pstree.img")
    except ImageError:
        return
    assert found == entries[: len(found)]
    assert len(found) < len(entries)


def test_another_kind_of_image_is_reported() -> None:
    with pytest.raises(ImageError, match=r"core-1.img is not a core image"):
        images.parse(images.build([], "pstree"), "core", "core-1.img")


def test_a_missing_image_is_reported(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(ImageError, match=r"pstree.img can't be read"):
        images.load(os.fspath(tmp_path), "pstree.img", "pstree")


def test_a_replaced_image_leaves_links_to_the_old_one(tmp_path: os.PathLike[str]) -> None:
    folder = os.fspath(tmp_path)
    images.write(folder, "a.img", b"old")
    os.link(f"{folder}/a.img", f"{folder}/b.img")
    images.write(folder, "a.img", b"new")
    assert images.read(folder, "a.img") == b"new"
    assert images.read(folder, "b.img") == b"old"
    assert os.stat(f"{folder}/a.img").st_mode & 0o777 == 0o600


def test_numbered_images_come_in_order(tmp_path: os.PathLike[str]) -> None:
    for name in ("core-10.img", "core-2.img", "core-x.img", "pagemap-shmem-3.img", "core-2.img.new"):
        images.write(os.fspath(tmp_path), name, b"")
    assert images.names(os.fspath(tmp_path), "core") == [(2, "core-2.img"), (10, "core-10.img")]
    assert images.names(os.fspath(tmp_path), "pagemap-shmem") == [(3, "pagemap-shmem-3.img")]
    assert images.names(os.fspath(tmp_path), "pagemap") == []


def test_own_images_come_first_and_stays_valid_by_descriptor(tmp_path: os.PathLike[str]) -> None:
    source, into = f"{tmp_path}/images", f"{tmp_path}/work/view"
    os.mkdir(source)
    os.makedirs(into)
    images.write(source, "files.img", b"old")
    images.write(source, "pages-1.img", b"pages")
    images.write(into, "files.img", b"new")
    images.link_rest(source, into)
    assert images.read(into, "files.img") == b"new"
    assert images.read(into, "pages-1.img") == b"pages"
    assert not os.path.isabs(os.readlink(f"{into}/pages-1.img"))


def test_the_links_are_stored_in_their_inodes(tmp_path: os.PathLike[str]) -> None:
    """ext4 keeps up to 59 bytes there; each longer one takes a block, and an engine has a thousand."""
    source, into = f"{tmp_path}/{'checkpoints' * 4}/images", f"{tmp_path}/views/1"
    os.makedirs(source)
    os.makedirs(into)
    for number in range(3):
        with open(f"{source}/core-{number}.img", "w") as file:
            file.write(str(number))
    images.link_rest(source, into)
    links = {name: os.readlink(f"{into}/{name}") for name in os.listdir(into)}
    assert max(len(links[f"core-{number}.img"]) for number in range(3)) < 60
    with open(f"{into}/core-2.img") as file:
        assert file.read() == "2"


def _bare(value: int) -> bytes:
    one = Message()
    one.put_integer(1, value)
    return one.encode()[1:]
