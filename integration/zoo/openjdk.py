"""OpenJDK: tens of threads, compiled code, a heap with reserved space, and jcmd, which attaches by a signal."""

from integration.pods import Container
from integration.zoo.program import Program, run


def healthy(container: Container) -> None:
    assert container.get("/healthz") == b"ok"
    assert "garbage-first heap" in run(container, "jcmd", "1", "GC.heap_info")
    said = run(container, "jcmd", "1", "Thread.print")
    assert "HTTP-Dispatcher" in said, said


def plant(container: Container, token: str) -> None:
    container.get(f"/put/{token}")


def found(container: Container, token: str) -> bool:
    return token in container.get("/").decode().split()


PROGRAM = Program(
    name="openjdk",
    packages=("openjdk-21-jdk-headless",),
    command=("java", "-XX:+UseG1GC", "-Xmx256m", "/zoo/Keeper.java"),
    state="an object on the heap",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
    ended=143,
)
