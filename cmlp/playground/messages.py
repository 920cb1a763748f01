"""The messages between the page and the server: text up and down, and binary ones down.

Text is a JSON object.  Those of the page have a key "do", those of the server a key "is"; the
methods of `page.Page` that are called like the command say what each holds.

Binary messages carry arrays: the length of the header (4 bytes, little-endian), the header, spaces
up to a multiple of 4 bytes, the arrays.  The header is a JSON object as in a text, whose
"parts" lists each array as [name, type, length]; the types are "float32", "int8" and "uint8",
and each array begins at a multiple of 4 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..checks import Array

__all__ = ["pack", "read"]


def read(text: str) -> dict[str, Any]:
    """A message of the page.

    Raises
    ------
    ValueError
        If it is no JSON object with a command; NaN and Infinity are no JSON.
    """
    try:
        message = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the message is no JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise ValueError("the message is no object with a command in do")
    return message


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def pack(header: Mapping[str, Any], parts: Mapping[str, Array]) -> bytes:
    """A binary message of a header and arrays of any shape."""
    listed = [[name, part.dtype.name, part.size] for name, part in parts.items()]
    text = json.dumps({**header, "parts": listed}, allow_nan=False).encode()
    blocks = [len(text).to_bytes(4, "little") + text, *(part.tobytes() for part in parts.values())]
    return b"".join(block + b" " * (-len(block) % 4) for block in blocks)
