"""Layers that hypothesis makes up come back."""

import contextlib
import os
import shutil
import stat
import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.layer_made import listing
from tests.layer_tree.made import Round

from glowplug.layer import tree

NAMES = st.sampled_from(["a", "b", "c", "d", "é", "\udcff"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, st.integers(0, 9000)),
        st.tuples(st.just("hole"), PATHS, st.integers(0, 1 << 22)),
        st.tuples(st.just("mkdir"), PATHS, st.sampled_from([0o700, 0o1777, 0o2755])),
        st.tuples(st.just("remove"), PATHS, st.none()),
        st.tuples(st.just("rename"), PATHS, PATHS),
        st.tuples(st.just("link"), PATHS, PATHS),
        st.tuples(st.just("symlink"), PATHS, PATHS),
        st.tuples(st.just("mode"), PATHS, st.integers(0, 0o7777)),
        st.tuples(st.just("owner"), PATHS, st.integers(0, 70000)),
        st.tuples(st.just("xattr"), PATHS, st.sampled_from(["user.x", "trusted.x", "user.overlay.x"])),
        st.tuples(st.just("node"), PATHS, st.sampled_from([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR])),
    ),
    max_size=25,
)


def operate(root: str, operations: list[tuple[str, str, object]]) -> None:
    """What a container does; what can't be done is an error for it and no matter here."""
    for operation in operations:
        with contextlib.suppress(OSError):
            operate_once(root, operation)


def operate_once(root: str, operation: tuple[str, str, object]) -> None:
    what, name, detail = operation
    path = f"{root}/{name}"
    match what, detail:
        case "write", int(size):
            with open(path, "wb") as file:
                file.write(os.urandom(size))
        case "hole", int(size):
            with open(path, "r+b") as file:
                file.truncate(size)
        case "mkdir", int(mode):
            os.mkdir(path)
            os.chmod(path, mode)
        case "remove", _:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        case "rename", str(other):
            os.rename(path, f"{root}/{other}")
        case "link", str(other):
            os.link(path, f"{root}/{other}", follow_symlinks=False)
        case "symlink", str(other):
            os.symlink(other, path)
        case "mode", int(mode):
            os.chmod(path, mode)
        case "owner", int(owner):
            os.lchown(path, owner, owner + 1)
        case "xattr", str(attribute):
            os.setxattr(path, attribute, os.urandom(8), follow_symlinks=False)
        case "node", int(kind):
            os.mknod(path, kind | 0o640, os.makedev(1, 3) if kind == stat.S_IFCHR else 0)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    operations=OPERATIONS, features=st.sampled_from(["index=off", "index=off,metacopy=on,redirect_dir=on"])
)
def test_any_layer_comes_back(operations: list[tuple[str, str, object]], features: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        made = Round(place, features)
        summary = made.change(lambda root: operate(root, operations))
        assert made.restored(summary) == made.wanted
        assert tree.capture(made.second.upper, f"{place}/again").fingerprint == summary.fingerprint
        tree.undo(made.record)
        assert listing(made.second.upper, times=False).keys() == {b"."}
