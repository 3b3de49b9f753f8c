"""The agent's log: one line per event on standard error, as logfmt or JSON, for journald and for people.

What belongs to an event is in fields of its own: `log.info("start", extra=fields({"pod": "web", …}))`.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping

FIELDS = "glowplug_fields"
_SYSLOG = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:+,@%")


def set_up(form: str) -> None:
    """All of the process's logging from here on. `form`: logfmt or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(form, in_journal=_goes_to_journal(sys.stderr.fileno())))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    threading.excepthook = _report_broken_thread


def fields(values: Mapping[str, object]) -> dict[str, object]:
    """For `extra=`: fields of the line; those that are None or empty are left out."""
    return {FIELDS: {name: value for name, value in values.items() if value not in (None, "")}}


class Lines(logging.Formatter):
    """Never more than one line: what a text holds of newlines and control characters is escaped.

    `in_journal`: journald has a time of its own, and takes the level from <N> (sd-daemon(3)).
    """

    def __init__(self, form: str, *, in_journal: bool) -> None:
        super().__init__()
        self._form = form
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        found: dict[str, object] = {} if self._in_journal else {"time": _utc(record.created)}
        found |= {"level": record.levelname.lower(), "msg": record.getMessage()}
        more = getattr(record, FIELDS, None)
        found |= more if isinstance(more, dict) else {}
        if record.exc_info:
            found["trace"] = self.formatException(record.exc_info)
        if self._form == "json":
            line = json.dumps(found, default=str)
        else:
            line = " ".join(f"{name}={_logfmt(value)}" for name, value in _flat(found))
        return f"<{_SYSLOG.get(record.levelname, 6)}>{line}" if self._in_journal else line


def _flat(found: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """What a field holds of fields, as `phases.criu`: logfmt has no others."""
    for name, value in found.items():
        if isinstance(value, dict) and value and all(key and _BARE.issuperset(key) for key in value):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _logfmt(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text and _BARE.issuperset(text) else json.dumps(text)


def _utc(moment: float) -> str:
    """RFC 3339 with milliseconds."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{seconds}.{int(moment % 1 * 1000):03}Z"


def _report_broken_thread(broken: threading.ExceptHookArgs) -> None:
    """As a line like any other; Python's own way is a traceback of many."""
    if broken.exc_value is not None:
        name = broken.thread.name if broken.thread else "a thread"
        found = (broken.exc_type, broken.exc_value, broken.exc_traceback)
        logging.getLogger("glowplug.agent").error("%s has ended", name, exc_info=found)


def _goes_to_journal(descriptor: int) -> bool:
    """systemd.exec(5): JOURNAL_STREAM names the device and inode of the journal's socket."""
    found = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
