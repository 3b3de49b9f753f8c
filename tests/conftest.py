"""What every unit test begins with."""

from tests import drawn  # noqa: F401
