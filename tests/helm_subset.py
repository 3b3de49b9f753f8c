"""As much of Helm's template language as our chart uses, and no more: anything else is an error.

For machines without Helm. Where its library is (the extra `helm`), tests/test_runtime_config_helm.py holds this
against the real one.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

_ACTION = re.compile(r"\s*{{-(.*?)}}|{{(.*?)}}", re.DOTALL)
_WORD = re.compile(r'"[^"]*"|[$\w.]+|[()|]')

Scope = dict[str, Any]


def render(
    template: str, values: Mapping[str, Any], chart: Mapping[str, Any], release: Mapping[str, Any]
) -> str:
    """The text that a template makes. ValueError: it says something that is not understood here."""
    scope: Scope = {".Values": values, ".Chart": chart, ".Release": release}
    pieces = iter(_pieces(template))
    text, end = _block(pieces, scope, shown=True)
    if end:
        raise ValueError(f"{end} without an if")
    return text


def _pieces(template: str) -> list[tuple[str, str]]:
    """("text", …) and ("action", …) in turns; `{{-` takes the blanks before it away."""
    found, at = [], 0
    for match in _ACTION.finditer(template):
        before = template[at : match.start()] if match[1] is not None else template[at : match.start(2) - 2]
        found += [("text", before), ("action", (match[1] if match[1] is not None else match[2]).strip())]
        at = match.end()
    return [*found, ("text", template[at:])]


def _block(pieces: Any, scope: Scope, shown: bool) -> tuple[str, str]:
    """Text up to `end`, `else` or the end of all, and which of them it was."""
    text = ""
    for kind, piece in pieces:
        if kind == "text":
            text += piece if shown else ""
        elif piece in ("end", "else"):
            return text, piece
        elif piece.startswith("if "):
            chosen = bool(_value(piece.removeprefix("if "), scope)) if shown else False
            inside, end = _block(pieces, scope, shown and chosen)
            if end == "else":
                other, end = _block(pieces, scope, shown and not chosen)
                inside += other
            if end != "end":
                raise ValueError(f"no end of: {piece}")
            text += inside
        elif shown:
            name, assigned, rest = piece.partition(" := ")
            if assigned:
                scope[name] = _value(rest, scope)
            else:
                text += str(_value(piece, scope))
    return text, ""


def _value(expression: str, scope: Scope) -> Any:
    words = _WORD.findall(expression)
    if "".join(words) != "".join(re.findall(r'"[^"]*"|\S', expression)):
        raise ValueError(f"not understood: {expression}")
    found = _pipeline(words, scope)
    if words:
        raise ValueError(f"not understood: {expression}")
    return found


def _pipeline(words: list[str], scope: Scope) -> Any:
    found = _call(words, scope, [])
    while words and words[0] == "|":
        words.pop(0)
        found = _call(words, scope, [found])
    return found


def _call(words: list[str], scope: Scope, last: list[Any]) -> Any:
    """A function with its arguments, what was piped in being the last of them; or one value."""
    if words[0] not in _FUNCTIONS:
        return _operand(words, scope)
    function, arguments = _FUNCTIONS[words.pop(0)], []
    while words and words[0] not in ("|", ")"):
        arguments.append(_operand(words, scope))
    return function(*arguments, *last)


def _operand(words: list[str], scope: Scope) -> Any:
    word = words.pop(0)
    if word == "(":
        found = _pipeline(words, scope)
        if not words or words.pop(0) != ")":
            raise ValueError("a bracket is not closed")
        return found
    if word.startswith('"'):
        return json.loads(word)
    if word.isdigit():
        return int(word)
    if word in scope:
        return scope[word]
    root, *path = word.lstrip(".").split(".")
    found = scope["." + root]
    for name in path:
        found = found[name]
    return found


def _quote(value: object) -> str:
    return json.dumps(str(value))


def _to_yaml(value: object) -> str:
    return str(yaml.safe_dump(value, default_flow_style=False)).rstrip("\n")


def _nindent(count: int, text: str) -> str:
    return "".join(f"\n{' ' * count}{line}" for line in text.splitlines())


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "default": lambda other, value: value or other,
    "eq": lambda one, other: one == other,
    "nindent": _nindent,
    "printf": lambda form, *values: form % values,
    "quote": _quote,
    "toJson": lambda value: json.dumps(value, separators=(",", ":")),
    "toYaml": _to_yaml,
}
