"""docs/edits.md lists what integration/differ lets differ, with its reasons."""

import os

from integration.differ.known import KNOWN

DOC = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/docs/edits.md"


def test_every_known_difference_is_in_the_docs() -> None:
    with open(DOC) as file:
        text = file.read()
    assert [one.reason for one in KNOWN if f"| {one.reason} |" not in text] == []
