"""Why a checkpoint does not fit: one line each, fit for a person and for a table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """`part` differs: the checkpoint needs `needs`, the pod or node has `has`. Secrets appear by name only.

    `slug` is what an outcome carries behind "cold:".
    """

    part: str
    needs: str
    has: str
    slug: str

    def __str__(self) -> str:
        return f"{self.part}: needs {self.needs}, has {self.has}"


UNKNOWN = "unknown"
