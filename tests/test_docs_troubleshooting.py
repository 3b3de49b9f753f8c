"""docs/troubleshooting.md says what to do about every outcome that the code can give."""

import os
import re

import pytest
from tests import test_checkpoint_docs

from glowplug.cache import fault
from glowplug.checkpoint import eligible, key, verdict
from glowplug.restore import stages

PAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "docs", "troubleshooting.md")
# In a restore's table of steps, but never the stage of a failure by themselves.
NEVER_ALONE = {"exit"}


def outcomes() -> set[str]:
    """Reasons of cold starts: every rule's, and those that runtime and agent spell out. Stages of failed restores."""
    cold = test_checkpoint_docs.NAMES - set(key.PARTS)
    cold |= {slug for slug, _, _ in (*eligible.RULES, *eligible.RECORD_RULES)} | {"newer-manifest"}
    cold |= {slug for _, _, _, slug in verdict._STATE}
    for path in ("runtime/create.py", "outcomes/ask.py", "agent/serving/resolve.py", "agent/learned.py"):
        with open(f"{test_checkpoint_docs.SOURCES}/{path}") as file:
            cold |= set(re.findall(r'(?:NoAnswer\(\s*"|_miss\(\s*"|"cold:)([a-z-]+)"', file.read()))
    names = {*fault.STAGES, *stages.NAMES} - NEVER_ALONE
    return {f"cold:{slug}" for slug in cold} | {f"fallback:{stage}" for stage in names}


def documented() -> set[str]:
    with open(PAGE) as file:
        return set(re.findall(r"`((?:cold|fallback):[a-z-]+)`", file.read()))


@pytest.mark.parametrize("outcome", sorted(outcomes()))
def test_there_is_something_to_do(outcome: str) -> None:
    assert outcome in documented()


def test_no_other_outcome_is_reported() -> None:
    assert documented() - outcomes() == set()
