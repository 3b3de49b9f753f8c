"""runc's command line, read: global options, verb, and the verb's own (runc(8), runc-create(8)).

HOT. What is not understood raises `Unknown`, and the caller passes the command to runc as it is.
"""

ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+,-."
GLOBAL_VALUES = ("root", "log", "log-format", "criu", "rootless")
GLOBAL_FLAGS = ("debug", "systemd-cgroup")
VERB_VALUES = {
    "create": ("bundle", "b", "console-socket", "pidfd-socket", "pid-file", "preserve-fds"),
    "delete": (),
    "checkpoint": (
        "image-path",
        "work-path",
        "parent-path",
        "status-fd",
        "page-server",
        "manage-cgroups-mode",
        "empty-ns",
    ),
}
VERB_FLAGS = {
    "create": ("no-pivot", "no-new-keyring"),
    "delete": ("force", "f"),
    "checkpoint": (
        "leave-running",
        "tcp-established",
        "tcp-skip-in-flight",
        "link-remap",
        "ext-unix-sk",
        "shell-job",
        "lazy-pages",
        "file-locks",
        "pre-dump",
        "auto-dedup",
    ),
}


class Unknown(Exception):
    """A command line that this reader does not know: runc's business."""


class Command:
    """A runc command line. `options` and `flags` have names without dashes; `words` ends in the container id."""

    __slots__ = ("flags", "options", "verb", "words")

    def __init__(self, verb: str, options: dict[str, str], flags: set[str]) -> None:
        self.verb = verb
        self.options = options
        self.flags = flags
        self.words: list[str] = []

    @property
    def container(self) -> str:
        """The container's id: the last argument."""
        return self.words[-1]

    @property
    def root(self) -> str:
        """runc's state root; runc's own default for root when none is set."""
        return self.options.get("root", "/run/runc")

    @property
    def bundle(self) -> str:
        """The OCI bundle: `--bundle`, else the working directory (OCI runtime command line)."""
        return self.options.get("bundle", self.options.get("b", "."))


def parse(args: list[str]) -> Command:
    """Read what follows the program's name. Raises `Unknown`."""
    options: dict[str, str] = {}
    flags: set[str] = set()
    rest = _take(args, GLOBAL_VALUES, GLOBAL_FLAGS, options, flags)
    if not rest or rest[0] not in VERB_VALUES:
        raise Unknown(args)
    command = Command(rest[0], options, flags)
    command.words = _take(rest[1:], VERB_VALUES[command.verb], VERB_FLAGS[command.verb], options, flags)
    if len(command.words) != 1 or not is_id(command.container):
        raise Unknown(args)
    return command


def is_id(word: str) -> bool:
    """Whether runc would take it for a container's id (libcontainer's validateID): only then it is part of a path."""
    return word not in ("", ".", "..") and not word.strip(ID_CHARACTERS)


def _take(
    args: list[str], values: tuple[str, ...], known: tuple[str, ...], options: dict[str, str], flags: set[str]
) -> list[str]:
    """Options up to the first word that is none; returns the words from there on."""
    at = 0
    while at < len(args) and args[at].startswith("-") and args[at] != "-":
        name, equals, value = args[at].lstrip("-").partition("=")
        at += 1
        if name in known and not equals:
            flags.add(name)
        elif name in values and equals:
            options[name] = value
        elif name in values and at < len(args):
            options[name] = args[at]
            at += 1
        else:
            raise Unknown(args)
    return args[at:]
