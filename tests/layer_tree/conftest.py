"""Fixtures of this folder."""

import pytest
from tests.layer_tree.made import Round


@pytest.fixture
def round_(tmp_path: object) -> Round:
    return Round(str(tmp_path))
