"""Two real SDK taps that read an SQLite file: a program for tests.

There is no light SQL tap on the index; others need a driver and a server. So `TapSQLite` is
the SDK's SQL tap, unmodified, and `TapRows` a tap of plain streams, sorted or not,
which sends older rows again like REST taps with a look-back.

With `stop_at`, ``{stream: rows}``, the tap writes its process id to the named pipe `stopped` after that many
rows of a stream, and then waits for a signal. `state_every` is the SDK's `STATE_MSG_FREQUENCY`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.sql import SQLConnector, SQLStream, SQLTap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONFIG = th.PropertiesList(
    th.Property("sqlalchemy_url", th.StringType),
    th.Property("streams", th.ArrayType(th.StringType)),
    th.Property("sorted", th.BooleanType),
    th.Property("stop_at", th.ObjectType(additional_properties=th.IntegerType)),
    th.Property("stopped", th.StringType),
    th.Property("state_every", th.IntegerType),
).to_dict()


def stopping(
    config: Mapping[str, Any], stream: str, rows: Iterable[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    at = config.get("stop_at", {}).get(stream)
    for number, row in enumerate(rows):
        if number == at:
            # Blocked until the tap waits for it: an earlier signal would leave the tap waiting forever.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            Path(config["stopped"]).write_text(str(os.getpid()), encoding="ascii")
            signal.raise_signal(signal.sigwait([signal.SIGTERM]))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        yield row


class StateOften(Stream):
    @property
    def STATE_MSG_FREQUENCY(self) -> int:  # type: ignore[override]  # noqa: N802 - the SDK's name
        return int(self.config.get("state_every", Stream.STATE_MSG_FREQUENCY))


class SQLiteStream(StateOften, SQLStream):
    connector_class = SQLConnector

    def get_records(self, context: Any) -> Iterable[Any]:  # noqa: ANN401 - the SDK's own
        return stopping(self.config, self.name, super().get_records(context))


class TapSQLite(SQLTap):
    name = "tap-sqlite"
    default_stream_class = SQLiteStream
    config_jsonschema = CONFIG


class RowsStream(StateOften):
    primary_keys = ("id",)
    replication_key = "at"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("name", th.StringType),
        th.Property("at", th.DateTimeType),
    ).to_dict()

    @property
    def is_sorted(self) -> bool:
        return bool(self.config["sorted"])

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:  # noqa: ANN401 - the SDK's own
        start = self.get_starting_replication_key_value(context) or ""
        with closing(sqlite3.connect(self.config["sqlalchemy_url"].removeprefix("sqlite:///"))) as opened:
            found = opened.execute(f"select id, name, at from {self.name} order by id").fetchall()  # noqa: S608 - constants
        rows = [dict(zip(("id", "name", "at"), row, strict=True)) for row in found]
        new = sum(row["at"] >= start for row in rows)
        wanted = rows[-new:] if self.is_sorted else rows[-new - 1 :][::-1]
        return stopping(self.config, self.name, wanted)


class TapRows(Tap):
    name = "tap-rows"
    config_jsonschema = CONFIG

    def discover_streams(self) -> list[Stream]:
        return [RowsStream(self, name=name) for name in self.config["streams"]]


def main() -> None:
    (TapSQLite if "--catalog" in sys.argv else TapRows).cli()


if __name__ == "__main__":
    main()
