"""A gRPC server in this process that answers in containerd's place, for what a real one can't be made to do.

It keeps what it was sent. Messages and method paths are those of `glowplug.containerd.methods`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from glowplug.containerd.rpc import Method

Answer = Callable[[Any, grpc.ServicerContext], Message]
Answers = Callable[[Any, grpc.ServicerContext], Iterable[Message]]

# Longer than any deadline that a test gives a client, so that it is the client's that ends the call.
HANGS_S = 20.0


class Served:
    """The server: `answer` and `stream` say what a method returns; start it before the client connects."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.stopping = threading.Event()
        self._answers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Handlers(self._answers),))
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def answer(self, method: Method[Any, Any], answer: Message | Answer) -> None:
        """What a call returns: a message, or a function of request and context."""

        def serve(request: Any, context: grpc.ServicerContext) -> Message:
            self._note(request, context)
            return answer if isinstance(answer, Message) else answer(request, context)

        self._answers[method.path] = grpc.unary_unary_rpc_method_handler(
            serve, method.request.FromString, method.answer.SerializeToString
        )

    def stream(self, method: Method[Any, Any], answers: Answers) -> None:
        """What a streaming call returns."""

        def serve(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
            self._note(request, context)
            yield from answers(request, context)

        self._answers[method.path] = grpc.unary_stream_rpc_method_handler(
            serve, method.request.FromString, method.answer.SerializeToString
        )

    def hang(self, _: Any, context: grpc.ServicerContext) -> NoReturn:
        """An answer that does not come."""
        self.stopping.wait(HANGS_S)
        context.abort(grpc.StatusCode.ABORTED, "the test is over")

    def stop(self) -> None:
        """Ends the server at once."""
        self.stopping.set()
        self._server.stop(None).wait()

    def _note(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.headers.append({key: str(value) for key, value in context.invocation_metadata()})


def refuse(code: grpc.StatusCode, details: str) -> Callable[[Any, grpc.ServicerContext], NoReturn]:
    """An answer that is an error, to any call."""

    def answer(_: Any, context: grpc.ServicerContext) -> NoReturn:
        context.abort(code, details)

    return answer


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, answers: "dict[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        self._answers = answers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._answers.get(handler_call_details.method)
