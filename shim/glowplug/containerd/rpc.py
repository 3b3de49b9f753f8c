"""Calls over containerd's socket: a deadline on each, and every gRPC failure as a ContainerdError.

Nothing here knows what a call is for. Generated service stubs are not used: see `hack/protobuf`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NoReturn, Protocol, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc import StatusCode as StatusCode

from glowplug.errors import ContainerdError

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)
AnswerOut = TypeVar("AnswerOut", bound=Message, covariant=True)

CHANNEL_OPTIONS = (
    # A Unix socket has no host. Without this, gRPC sends the escaped path, which containerd's server refuses.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    # containerd sends up to 16 MiB; gRPC's own limit of 4 MiB is too small for a list of a full node.
    ("grpc.max_receive_message_length", 16 << 20),
    # After a restart of containerd, calls would fail for up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class NotFound(ContainerdError):
    """containerd answered, and has no such container, task, snapshot, image or blob."""


def status_of(error: ContainerdError) -> StatusCode | None:
    """containerd's status code (gRPC's), or None where the failure is not a call's."""
    cause = error.__cause__
    return cause.code() if isinstance(cause, grpc.Call) else None


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Answer]):
    """One remote procedure: `/package.Service/Name`, and what goes in and comes out."""

    path: str
    request: type[Request]
    answer: type[Answer]

    @property
    def name(self) -> str:
        """`Service.Name`, for messages."""
        service, _, call = self.path.lstrip("/").partition("/")
        return f"{service.rpartition('.')[2]}.{call}"


class Closing:
    """A context manager that closes itself."""

    def close(self) -> None:
        """May be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Call(Protocol[AnswerOut]):
    """What gRPC returns for a streaming call, as far as it is used here."""

    def __next__(self) -> AnswerOut: ...
    def cancel(self) -> object: ...


class Stream(Generic[Answer]):
    """The answers of a streaming call, as they come. Iteration ends when the server ends it, or at `close`.

    Iterating raises ContainerdError when the stream breaks. `close` may be called from another thread.
    """

    def __init__(
        self, connection: "Connection", name: str, call: _Call[Answer], timeout_s: float | None
    ) -> None:
        self._connection = connection
        self._name = name
        self._call = call
        self._timeout_s = timeout_s
        self._closed = False

    def __iter__(self) -> Iterator[Answer]:
        return self

    def __next__(self) -> Answer:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            if self._closed:
                raise StopIteration from None
            self._connection.fail(self._name, error, self._timeout_s)

    def close(self) -> None:
        """Ends the call; a thread that waits in `next` gets the end of the iteration."""
        self._closed = True
        self._call.cancel()


class Connection:
    """A channel to a containerd socket. Thread-safe; connects at the first call, and again after a break."""

    def __init__(self, socket: str, timeout_s: float, namespace: str | None = None) -> None:
        """`socket`: path of the Unix socket. `timeout_s`: deadline of a call in seconds, where it names none.

        `namespace`: containerd's own (k8s.io for Kubernetes), sent with each call; CRI calls need none.
        """
        self.socket = socket
        self.timeout_s = timeout_s
        self._metadata = (("containerd-namespace", namespace),) if namespace else ()
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS)

    def call(
        self, method: Method[Request, Answer], request: Request, timeout_s: float | None = None
    ) -> Answer:
        """The answer to `request`. Raises NotFound, or ContainerdError for any other failure."""
        deadline_s = self.timeout_s if timeout_s is None else timeout_s
        remote = self._channel.unary_unary(
            method.path, method.request.SerializeToString, method.answer.FromString
        )
        try:
            return cast("Answer", remote(request, timeout=deadline_s, metadata=self._metadata))
        except grpc.RpcError as error:
            self.fail(method.name, error, deadline_s)

    def stream(
        self, method: Method[Request, Answer], request: Request, timeout_s: float | None
    ) -> Stream[Answer]:
        """The answers to `request` one by one, all of them within `timeout_s` seconds; None: no deadline."""
        remote = self._channel.unary_stream(
            method.path, method.request.SerializeToString, method.answer.FromString
        )
        call = remote(request, timeout=timeout_s, metadata=self._metadata)
        return Stream(self, method.name, cast("_Call[Answer]", call), timeout_s)

    def close(self) -> None:
        """Closes the channel; calls under way fail."""
        self._channel.close()

    def fail(self, name: str, error: grpc.RpcError, timeout_s: float | None) -> NoReturn:
        """Raises what a failed call means. `name`: the call's, for the message."""
        if not isinstance(error, grpc.Call):
            raise error
        code, details = error.code(), error.details() or "no details"
        if code is StatusCode.UNAVAILABLE:
            raise ContainerdError(
                f"containerd can't be reached at {self.socket} for {name}: {details}. "
                "Is it running, and is this its socket?"
            ) from error
        if code is StatusCode.DEADLINE_EXCEEDED:
            raise ContainerdError(
                f"containerd at {self.socket} did not finish {name} in time (deadline {timeout_s} s): {details}"
            ) from error
        kind = NotFound if code is StatusCode.NOT_FOUND else ContainerdError
        raise kind(f"containerd at {self.socket} refused {name}: {details} ({code.name})") from error
