"""The expected result of an input, read line by line with only the standard library.

It knows the result of an accepted input; whether an input must be accepted is known only if it was generated
well-formed.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.fuzz.running import holds_a_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fuzz.variants import Variant


class _Exactly(str):
    """A number as its digits; never equal to a string with the same characters."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Exactly) and str(self) == str(other)

    __hash__ = str.__hash__


def exactly(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON, keeping each number's digits. Raises ValueError if it is not JSON."""
    return json.loads(text.decode(), parse_int=_Exactly, parse_float=_Exactly)


def by_value(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON with numbers by value, for records that were re-encoded."""
    return json.loads(text.decode(), parse_int=Decimal, parse_float=Decimal)


@dataclass
class Asked:
    """The expected result of an accepted input.

    `records` by entity type, in order; `counts` for all types. `state` is the last STATE's value,
    `state_line` its line. `unfollowed`: records after the last STATE.
    """

    records: dict[str, list[Any]] = field(default_factory=dict)
    state: Any = None
    state_line: bytes | None = None
    unfollowed: int = 0

    @property
    def counts(self) -> dict[str, int]:
        return {entity_type: len(records) for entity_type, records in self.records.items()}


def lines_of(stdin: bytes) -> Iterator[bytes]:
    return (line for line in stdin.split(b"\n") if line.strip())


def asked(stdin: bytes, variant: Variant) -> Asked:
    """Read an input that the target has accepted. Raises ValueError if it is not JSON after all."""
    found = Asked()
    read = exactly if variant.is_exact else by_value
    for line in lines_of(stdin):
        message = read(line)
        if message["type"] == "STATE":
            found.state, found.state_line, found.unfollowed = exactly(line)["value"], line, 0
        for record in _records(message, read):
            found.unfollowed += 1
            stream = message["stream"]
            entity_type = variant.entity_type(stream)
            if entity_type is not None:
                made = variant.makes(stream, record) if variant.makes else record
                found.records.setdefault(entity_type, []).append(made)
    return found


def _records(message: Any, read: Callable[[bytes], Any]) -> Iterator[Any]:  # noqa: ANN401 - any JSON
    if message["type"] == "RECORD":
        yield message["record"]
    if message["type"] == "BATCH":
        for url in message["manifest"]:
            data = Path(url.removeprefix("file://")).read_bytes()
            yield from map(read, lines_of(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data))


def may_be_named(*texts: bytes) -> bool:
    """Whether the secret is where a message may show it: in a stream, a schema, a key, or a field's name.

    `texts` are the input and the files of its batches.
    """
    return any(holds_a_secret(name) for text in texts for name in _names(text))


def _names(stdin: bytes) -> Iterator[str]:
    for line in lines_of(stdin):
        try:
            message = json.loads(line.decode(), parse_int=str, parse_float=str, object_pairs_hook=list)
        except (ValueError, RecursionError):
            # Unparsable text is never quoted.
            continue
        yield from _names_in(message)


def _names_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """All field names, and everything outside records and STATEs."""
    stack = [(value, False)]
    while stack:
        inner, hidden = stack.pop()
        if isinstance(inner, tuple):
            name, held = inner
            yield name
            stack.append((held, hidden or name in {"record", "value"}))
        elif isinstance(inner, list):
            stack.extend((part, hidden) for part in inner)
        elif isinstance(inner, str) and not hidden:
            yield inner
