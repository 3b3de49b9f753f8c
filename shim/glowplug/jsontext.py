"""JSON by the interpreter's C code alone.

HOT: `import json` costs the runtime more than everything else that it does before the agent answers, because it
compiles regular expressions. The scanner and encoder behind it (`_json`, of CPython's standard library) need
none of that. Where an interpreter has no such parts, `json` serves.
"""

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    class _Context:
        """What the scanner asks of a decoder (json.decoder.JSONDecoder)."""

        strict = True
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own, cleared by it

        @staticmethod
        def parse_constant(name: str) -> float:
            raise ValueError(f"{name} is not JSON")

    def _refuse(value: object) -> object:
        raise TypeError(f"{type(value).__name__} is not JSON")

    _scan = make_scanner(_Context)  # type: ignore[arg-type]
    _encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, False)

    def loads(text: str | bytes) -> object:
        """The value. Raises ValueError, or RecursionError for what is nested too deep."""
        stripped = (text if isinstance(text, str) else text.decode()).strip(" \t\r\n")
        try:
            value, end = _scan(stripped, 0)
        except StopIteration:
            raise ValueError("no JSON") from None
        if end != len(stripped):
            raise ValueError("there is text after the JSON value")
        return value

    def dumps(value: object) -> str:
        """JSON in one form: sorted keys, no spaces, ASCII."""
        return "".join(_encode(value, 0))

    if loads(dumps({"a": [1, "ä"]})) != {"a": [1, "ä"]}:
        raise ImportError  # an interpreter whose parts have other ways

except (ImportError, TypeError, AttributeError):
    import json

    def loads(text: str | bytes) -> object:
        """The value. Raises ValueError, or RecursionError for what is nested too deep."""
        return json.loads(text)

    def dumps(value: object) -> str:
        """JSON in one form: sorted keys, no spaces, ASCII."""
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
