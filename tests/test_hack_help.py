"""Every command in hack/ says with --help what it does; nothing else happens then."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    path
    for path in sorted((ROOT / "hack").iterdir())
    if path.is_file() and path.suffix != ".py" and b"bash\n" in path.read_bytes()[:16] + b"\n"
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_command_explains_itself_and_does_nothing(script: Path, tmp_path: Path) -> None:
    text = script.read_text()
    # bootstrap-node.sh is copied to nodes without hack/help, and has its line itself.
    if '/help"' not in text and "exit ;; esac" not in text:
        pytest.skip("its own program prints the help")
    words = text.splitlines()[1].removeprefix("# ")
    done = subprocess.run(
        [str(script), "--help"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(words)
