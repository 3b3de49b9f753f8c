"""containerd's events about containers and tasks, as plain values."""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from glowplug.containerd.protos import events_pb2, task_events_pb2
from glowplug.containerd.records import is_of_our_handler, runc_options
from glowplug.containerd.rpc import Closing, Stream
from glowplug.errors import ContainerdError

_TASK_EVENTS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        task_events_pb2.TaskCreate,
        task_events_pb2.TaskStart,
        task_events_pb2.TaskExit,
        task_events_pb2.TaskDelete,
        task_events_pb2.TaskOOM,
        task_events_pb2.TaskExecAdded,
        task_events_pb2.TaskExecStarted,
        task_events_pb2.TaskPaused,
        task_events_pb2.TaskResumed,
        task_events_pb2.TaskCheckpointed,
    )
}
_CONTAINER_EVENTS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        task_events_pb2.ContainerUpdate,
        task_events_pb2.ContainerDelete,
    )
}
_CREATED = task_events_pb2.ContainerCreate.DESCRIPTOR.full_name


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at`: Unix time in seconds. `topic`: /tasks/exit, /containers/delete and others.

    `container_id` is empty in events about other things (images, snapshots). `exec_id` is empty where the
    container's first process is meant. `is_ours`: whether the container is of our handler; None but in
    /containers/create, and where that can't be read.
    """

    at: float
    topic: str
    container_id: str = ""
    exec_id: str = ""
    is_ours: bool | None = None


class EventStream(Closing):
    """Events as they come, without an end. A context manager; `close` also ends a waiting iteration.

    containerd does not say when a subscription has begun: what must not be missed is looked up once more
    after the first event, or on a timer. Raises ContainerdError when containerd goes away.
    """

    def __init__(self, stream: Stream[events_pb2.Envelope]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Event]:
        return map(event_of, self._stream)

    def close(self) -> None:
        """Ends the subscription."""
        self._stream.close()


def event_of(envelope: events_pb2.Envelope) -> Event:
    """The values of one event. Raises ContainerdError where its payload can't be read."""
    at, topic = envelope.timestamp.ToNanoseconds() / 1e9, envelope.topic
    name = envelope.event.type_url.rpartition("/")[2]
    try:
        if name == _CREATED:
            made = task_events_pb2.ContainerCreate.FromString(envelope.event.value)
            return Event(at, topic, made.id, is_ours=_is_ours(made))
        if name in _CONTAINER_EVENTS:
            return Event(at, topic, _CONTAINER_EVENTS[name].FromString(envelope.event.value).id)
        if name not in _TASK_EVENTS:
            return Event(at, topic)
        task = _TASK_EVENTS[name].FromString(envelope.event.value)
    except DecodeError as error:
        raise ContainerdError(f"containerd sent an event {topic} that can't be read as {name}") from error
    process = getattr(task, "id", "") or getattr(task, "exec_id", "")
    return Event(
        at,
        topic,
        container_id=task.container_id,
        exec_id="" if process == task.container_id else process,
    )


def _is_ours(made: task_events_pb2.ContainerCreate) -> bool | None:
    try:
        return is_of_our_handler(runc_options(made.runtime))
    except DecodeError:
        return None
