"""The web page at `/`, which shows the contents of the sandbox."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jinja2
import msgspec

from target_sprinto.sandbox.engine import Engine

ROWS_SHOWN = 10
REFRESH_SECONDS = 5
WIDE = 8
"""A table with more columns shows each record as a list of its fields."""


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


_pages = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_pages.filters |= {"moment": _moment, "json": lambda value: msgspec.json.encode(value).decode()}
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Cell(NamedTuple):
    """A value to show: its text, and its kind, which decides its style."""

    text: str
    kind: Literal["text", "json", "null", "missing"]


def render(engine: Engine, base_url: str, *, refreshes: bool) -> str:
    """Render the contents of the sandbox as HTML; `base_url` is the API's, for a hint on how to send data."""
    return _pages.get_template("web_page.html").render(
        engine=engine,
        table_of=_table,
        base_url=base_url,
        refresh_seconds=REFRESH_SECONDS if refreshes else None,
        rows_shown=ROWS_SHOWN,
        wide=WIDE,
    )


def _table(records: list[bytes]) -> dict[str, Any]:
    """The first rows of an entity type's applied records."""
    shown = [_decode_fields(record) for record in records[:ROWS_SHOWN]]
    columns = list(dict.fromkeys(name for fields in shown for name in fields))
    rows = [[_cell(fields.get(name)) for name in columns] for fields in shown]
    return {"columns": columns, "rows": rows}


def _cell(value: msgspec.Raw | None) -> Cell:
    """Show a value by its own JSON text: numbers keep every digit they were sent with."""
    if value is None:
        return Cell("", "missing")
    text = bytes(value).decode()
    if text[0] == '"':
        return Cell(msgspec.json.decode(value, type=str), "text")
    if text == "null":
        return Cell("null", "null")
    if text[0] in "{[":
        return Cell(msgspec.json.format(text, indent=-1), "json")
    return Cell(text, "text")
