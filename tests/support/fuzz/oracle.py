"""What an input asks for, read line by line with the standard library alone.

It knows what must have come of an input that was taken; whether an input is to be taken is known only where
it was made well-formed.
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
    """A number as its digits; never equal to a string of the same letters."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Exactly) and str(self) == str(other)

    __hash__ = str.__hash__


def exactly(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    """JSON with each number as the digits that were written. Raises ValueError for what is none."""
    return json.loads(text.decode(), parse_int=_Exactly, parse_float=_Exactly)


def by_value(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    """JSON with numbers by their value: for what was encoded again on its way."""
    return json.loads(text.decode(), parse_int=Decimal, parse_float=Decimal)


@dataclass
class Asked:
    """What an input that was taken asks for.

    `records` by entity type, in order; `counts` of them all. `state` is the last STATE's value, `state_line`
    the line that it came in. `unfollowed`: records after the last STATE.
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
    """Read an input that the target has taken. Raises ValueError where it is not JSON after all."""
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
    """Whether the secret stands where a message may name it: in a stream, a schema, a key, a field's name.

    `texts` are the input and the files of its batches.
    """
    return any(holds_a_secret(name) for text in texts for name in _names(text))


def _names(stdin: bytes) -> Iterator[str]:
    for line in lines_of(stdin):
        try:
            message = json.loads(line.decode(), parse_int=str, parse_float=str, object_pairs_hook=list)
        except (ValueError, RecursionError):
            # What no reader can read is never quoted.
            continue
        yield from _names_in(message)


def _names_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """All names of fields, and all that stands elsewhere than in a record or a STATE."""
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
