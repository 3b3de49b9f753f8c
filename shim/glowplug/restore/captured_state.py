"""What a capture kept of processes because CRIU does not (capture/state.py): read, and passed to whom CRIU starts.

Used by the runtime, before CRIU begins: standard library only. What is set at the gate is in state.py.
"""

from __future__ import annotations

from glowplug import jsontext
from glowplug.errors import CriuError

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.checkpoint.process_state import State

NAME = "state.json"


def read(checkpoint: str) -> State:
    """Of a checkpoint's directory; empty for one of an older Glowplug. Raises CriuError."""
    try:
        with open(f"{checkpoint}/images/{NAME}", encoding="ascii") as file:
            found = jsontext.loads(file.read())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CriuError(f"the state of the processes can't be read: {error}") from error
    if not isinstance(found, dict):
        raise CriuError("the state of the processes can't be read: it is not a JSON object")
    return found  # type: ignore[return-value]


def inherit(state: State) -> None:
    """Before CRIU: this process's memory policy, which the restored ones have from it. A node without those memory
    nodes has none to give."""
    policy = state.get("memory_policy")
    if policy:
        from glowplug.host import scheduling  # few need it

        try:
            scheduling.set_own_memory_policy(policy)
        except (OSError, ValueError):
            return
