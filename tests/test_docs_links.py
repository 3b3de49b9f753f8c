"""Each link of the documentation leads to something: files, and headings in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("runtime_config/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE_PATH = re.compile(r"`((?:shim|tests|integration|hack|docs|runtime_config|\.ci)/[\w./-]+)`")
PACKAGES = "|".join(sorted(path.parent.name for path in ROOT.glob("shim/glowplug/*/__init__.py")))
PACKAGE_PATH = re.compile(rf"`((?:{PACKAGES})/[a-z0-9_/]*(?:\.py|/))`")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_reported_are_there(page: Path) -> None:
    text = page.read_text()
    paths = [*CODE_PATH.findall(text), *(f"shim/glowplug/{path}" for path in PACKAGE_PATH.findall(text))]
    assert [path for path in paths if not (ROOT / path).exists()] == []
