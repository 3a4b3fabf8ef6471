"""Wordings of a rejection that repeat a value: completely, partly, or in another spelling."""

from __future__ import annotations

import base64
import hashlib
import random
import unicodedata
import urllib.parse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.title,
    lambda value: value[:4],
    lambda value: value[-4:],
    lambda value: value[:1],
    lambda value: f"{value[:3]}***{value[-2:]}",
    lambda value: "".join(filter(str.isdigit, value)) or value[:2],
    lambda value: "".join(filter(str.isalnum, value)),
    " ".join,
    lambda value: "-".join(value[at : at + 3] for at in range(0, len(value), 3)),
    lambda value: value[::-1],
    lambda value: value.encode("unicode_escape").decode(),
    lambda value: "".join(f"\\u{ord(one):04x}" for one in value),
    lambda value: "".join(f"&#{ord(one)};" for one in value),
    lambda value: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in value),
    lambda value: unicodedata.normalize("NFD", value),
    "\u200b".join,
    lambda value: f"\x1b[31m{value}\x1b[0m",
    lambda value: f"\n2026-01-01 00:00:00 | ERROR    | target-sprinto | {value}",
    urllib.parse.quote,
    repr,
    lambda value: base64.b64encode(value.encode()).decode(),
    lambda value: value.encode().hex(),
    lambda value: hashlib.sha256(value.encode()).hexdigest(),
    lambda value: value.replace("@", " at ").replace(".", " dot "),
]

FRAMES = [
    "{}",
    "{} is not valid",
    "must be an email address, got '{}'",
    "must be one of {}",
    "“{}” ≠ “EMPLOYEE”",
    "duplicate of {} in another page",
    "{}: required",
    "maximum of 64 characters: {}",
]

FIELDS = ["name", "{}", "name.{}", "/name/{}", "name[{}]", "contacts.{}", "contacts.{}.phone", "$.{}"]


def rejection(seed: int, values: Sequence[str]) -> dict[str, Any]:
    """The body of a 400 that repeats some values in one or all places. The same seed gives the same form."""
    draw = random.Random(seed)  # noqa: S311 - reproducible choice

    def quoted(frames: Sequence[str]) -> str:
        return draw.choice(frames).format(draw.choice(SPELLINGS)(draw.choice(values)))

    fault = {
        "entity_type": draw.choice(["people", "people", "people", quoted(FRAMES)]),
        "index": draw.choice([0, 0, draw.choice(values), f"{quoted(FRAMES)}"]),
        "field": quoted(draw.choice([FIELDS, FRAMES])),
        "issue": quoted(FRAMES),
        draw.choice(["code", "rule", "keyword", "value", quoted(["{}"])]): draw.choice(
            ["required", "max_length", quoted(FRAMES)]
        ),
    }
    faults = [fault] * draw.choice([0, 1, 1, 1, 2, 5])
    code = draw.choice(["validation_failed", quoted(["{}"])])
    body: dict[str, Any] = {"error": {"code": code, "message": quoted(FRAMES), "details": []}}
    if draw.random() < 0.5:
        body["error"]["details"] = faults
    else:
        body["validation_errors"] = faults
    return body
