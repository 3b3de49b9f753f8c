"""Names in a directory that a pod can write are looked up once, and what they lead to is changed by descriptor.

Where the runtime of a pod makes a file and then changes it by its name, a process of the pod can put a link under that
name in between, and root changes a file of the node. So no call in these packages follows the last part of a name that
it changes. The calls are found in the source; what is no such name is in `OURS`, with the reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "shim/glowplug"
PACKAGES = ("layer", "restore", "capture")

FOLLOW_BY_DEFAULT = ("chmod", "chown", "utime", "setxattr", "getxattr", "removexattr", "listxattr", "link")
FOLLOW_ALWAYS = ("lchflags", "truncate", "mkfifo", "chflags", "pathconf", "statvfs", "startfile")
DIRECTORY_RELATIVE = ("open", "stat", "scandir")
NO_FOLLOW_FLAGS = ("O_NOFOLLOW", "O_EXCL")

OURS = {
    ("layer/attributes.py", "set_on_made"): "paths of /proc/self/fd: what was opened once, and looked at",
    ("restore/trial/place.py", "_shared_memory"): "a trial's own directory in the cache, which is root's",
    ("capture/trial.py", "_free_bytes"): "a draft's directory in the cache, which is root's",
}


def calls() -> Iterator[tuple[str, str, ast.Call, dict[str, str]]]:
    """Every call in the packages: file, function around it, call, and the module's own constants by name."""
    for package in PACKAGES:
        for path in sorted((SOURCE / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            constants = {
                target.id: ast.unparse(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    around = [one for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
                    name = (
                        min(around, key=lambda one: (one.end_lineno or 0) - one.lineno).name if around else ""
                    )
                    yield str(path.relative_to(SOURCE)), name, node, constants


def name_of(call: ast.Call) -> str:
    """`chmod` of os.chmod(…); empty for what is no function of os."""
    function = call.func
    is_os = (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "os"
    )
    return function.attr if is_os and isinstance(function, ast.Attribute) else ""


def keyword(call: ast.Call, name: str) -> str:
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), "")


def is_descriptor(argument: ast.expr) -> bool:
    """A variable or attribute that is called a descriptor (`fd`, `target_fd`), or file.fileno()."""
    text = ast.unparse(argument)
    return text.rpartition(".")[2] in ("fd", "fileno()", "root") or text.endswith("_fd")


def follows(call: ast.Call, constants: dict[str, str]) -> bool:
    name = name_of(call)
    if name in FOLLOW_ALWAYS:
        return not is_descriptor(call.args[0])
    if name in FOLLOW_BY_DEFAULT:
        is_safe = is_descriptor(call.args[0]) or keyword(call, "follow_symlinks") in ("False", "follow")
        return not is_safe
    if name in DIRECTORY_RELATIVE and keyword(call, "dir_fd"):
        if name == "open":
            flags = ast.unparse(call.args[1])
            for constant, value in constants.items():
                flags = flags.replace(constant, value)
            return not any(flag in flags for flag in NO_FOLLOW_FLAGS)
        return keyword(call, "follow_symlinks") != "False"
    return False


def test_no_call_follows_a_name_that_it_changes() -> None:
    found = [
        f"{file}:{call.lineno} {function}: {ast.unparse(call)}"
        for file, function, call, constants in calls()
        if follows(call, constants) and not {(file, function), (file, "*")} & OURS.keys()
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "os.chmod(name, 0o600, dir_fd=dir_fd)",
        "os.chown(path, 0, 0)",
        "os.utime(path, ns=times)",
        "os.setxattr(path, name, value)",
        "os.link(old, new, src_dir_fd=a, dst_dir_fd=b)",
        "os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=fd)",
        "os.stat(name, dir_fd=fd)",
    ],
)
def test_the_scan_finds_what_it_is_for(text: str) -> None:
    (statement,) = ast.parse(text).body
    assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    assert follows(statement.value, {})


def test_the_exceptions_are_needed() -> None:
    used = {(file, function) for file, function, call, constants in calls() if follows(call, constants)}
    files = {file for file, _ in used}
    assert [one for one in OURS if one not in used and not (one[1] == "*" and one[0] in files)] == []
