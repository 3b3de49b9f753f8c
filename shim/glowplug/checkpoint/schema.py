"""The check of a value against a JSON Schema (draft 2020-12), for the keywords that `manifest_schema` uses:
type, enum, pattern, minimum with maximum, minItems with maxItems, required, properties, propertyNames,
additionalProperties, items. Stricter than the standard in one point: 1.0 is not an integer.
"""

import re
from collections.abc import Mapping

from glowplug.errors import ManifestError

Schema = Mapping[str, object]


def check(schema: Schema, value: object, where: str = "manifest") -> None:
    """Raises ManifestError, naming the place and never the value, unless the value has the schema's form."""
    for keyword, require in _KEYWORDS.items():
        if keyword in schema:
            require(schema, value, where)


def _wrong(where: str, wanted: str, value: object) -> ManifestError:
    return ManifestError(f"{where[:200]}: expected {wanted}, got {_NAMES.get(type(value), 'another type')}")


_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_NAMES |= {dict: "object", list: "array"}
_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _type(schema: Schema, value: object, where: str) -> None:
    wanted = schema["type"]
    types = [str(name) for name in wanted] if isinstance(wanted, list) else [str(wanted)]
    if not any(_TYPES[name](value) for name in types):
        raise _wrong(where, " or ".join(types), value)


def _enum(schema: Schema, value: object, where: str) -> None:
    allowed = schema["enum"]
    if isinstance(allowed, list) and not any(type(value) is type(one) and value == one for one in allowed):
        raise _wrong(where, f"one of {allowed}", value)


def _pattern(schema: Schema, value: object, where: str) -> None:
    if isinstance(value, str) and not re.search(str(schema["pattern"]).replace("$", r"\Z"), value):
        raise ManifestError(f"{where[:200]}: expected text of the form {schema['pattern']}, got another")


def _bounds(schema: Schema, value: object, where: str) -> None:
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if isinstance(low, int | float) and isinstance(high, int | float) and not low <= value <= high:
            raise ManifestError(f"{where[:200]}: expected a number from {low} to {high}, got one beyond")


def _length(schema: Schema, value: object, where: str) -> None:
    if isinstance(value, list):
        low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
        if isinstance(low, int) and isinstance(high, int) and not low <= len(value) <= high:
            raise ManifestError(f"{where[:200]}: expected {low} to {high} entries, got {len(value)}")


def _required(schema: Schema, value: object, where: str) -> None:
    names = schema["required"]
    if isinstance(value, dict) and isinstance(names, list):
        for name in names:
            if name not in value:
                raise ManifestError(f"{where[:200]}: expected {name!r}, got no such entry")


def _properties(schema: Schema, value: object, where: str) -> None:
    own = schema.get("properties", {})
    if isinstance(value, dict) and isinstance(own, dict):
        for name in own.keys() & value.keys():
            check(own[name], value[name], f"{where}.{name}")


def _additional(schema: Schema, value: object, where: str) -> None:
    own, rest = schema.get("properties", {}), schema["additionalProperties"]
    if not isinstance(value, dict) or not isinstance(own, dict):
        return
    for name in value.keys() - own.keys():
        if not isinstance(rest, dict):
            raise ManifestError(
                f"{where[:200]}: found an entry {str(name)[:80]!r} that this version does not know"
            )
        check(rest, value[name], f"{where}.{name[:80]}")


def _names(schema: Schema, value: object, where: str) -> None:
    if isinstance(value, dict) and isinstance(schema["propertyNames"], dict):
        for name in value:
            check(schema["propertyNames"], name, f"{where}: an entry's name")


def _items(schema: Schema, value: object, where: str) -> None:
    if isinstance(value, list) and isinstance(schema["items"], dict):
        for index, item in enumerate(value):
            check(schema["items"], item, f"{where}[{index}]")


# The type comes first: it keeps the others from values that they were not written for.
_KEYWORDS = {
    "type": _type,
    "enum": _enum,
    "pattern": _pattern,
    "minimum": _bounds,
    "minItems": _length,
    "required": _required,
    "properties": _properties,
    "propertyNames": _names,
    "additionalProperties": _additional,
    "items": _items,
}
