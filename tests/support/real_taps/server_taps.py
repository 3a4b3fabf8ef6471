"""Taps that read an HTTP server or a database's log, night after night, as in `file_taps.py`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.real_taps.local_sources import http, mariadb, postgres
from tests.support.real_taps.nights import Night

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.support.real_taps.nights import Place

ENTRY = (
    "<item><guid>{0}</guid><title>{1}</title><link>http://x/{0}</link>"
    "<pubDate>{2} 00:00:00 GMT</pubDate></item>"
)


def feed(place: Place) -> Generator[Night]:
    entries = [
        ENTRY.format("g1", "One &amp; 👩", "Thu, 01 Jan 2026"),
        ENTRY.format("g2", "Two", "Fri, 02 Jan 2026"),
    ]

    def channel(_: dict[str, str]) -> str:
        return f'<rss version="2.0"><channel><title>Tïtle</title>{"".join(entries)}</channel></rss>'

    with http({"/feed": channel}) as url:
        place.config = {
            "feed_urls": [f"{url}/feed"],
            "feed_fields": ["title"],
            "feed_entry_fields": ["id", "title", "link"],
            "feed_entry_replication_key": "published",
        }

        def entry(guid: str, title: str, day: int) -> str:
            values = {
                "feed_url": f"{url}/feed",
                "feed_title": "Tïtle",
                "entry_id": guid,
                "entry_published": f"2026-01-{day:02} 00:00:00+00:00",
                "entry_title": title,
                "entry_link": f"http://x/{guid}",
            }
            return json.dumps(values)

        yield Night({"feed": [entry("g1", "One & 👩", 1), entry("g2", "Two", 2)]})
        yield Night({})
        entries.append(ENTRY.format("g3", "Three", "Sat, 03 Jan 2026"))
        yield Night({"feed": [entry("g3", "Three", 3)]})


class People:
    """Two people and later a third; like an API, sends those changed since a time."""

    def __init__(self) -> None:
        self.rows = {
            "2026-01-02T03:04:05Z": '"id": 1, "name": "Zoë 👩", "score": 0.25, '
            '"big": 123456789012345678901234567890, "nested": {"a": [1, null, 3]}, "left": null',
            "2026-01-03T03:04:05Z": '"id": 2, "name": null, "score": -7.5, "big": 2, '
            '"nested": {"a": []}, "left": "2024-02-29"',
        }

    def since(self, query: dict[str, str]) -> str:
        since = query.get("since", "").removeprefix("gt").replace("+00:00", "Z")
        return f"[{', '.join(self.expected(since))}]"

    def expected(self, since: str = "") -> list[str]:
        return [f'{{{row}, "updated_at": "{at}"}}' for at, row in self.rows.items() if at >= since]

    def hire(self) -> None:
        self.rows["2026-01-04T03:04:05Z"] = (
            '"id": 3, "name": "", "score": 1e-07, "big": 3, "nested": {"a": [2]}, "left": null'
        )


def rest_api_msdk(place: Place) -> Generator[Night]:
    people = People()

    def flat(rows: list[str]) -> list[str]:
        """The tap writes lists as text."""
        lists = {"[1, null, 3]": '"[1, null, 3]"', "[]": '"[]"', "[2]": '"[2]"'}
        return [
            row.replace(f'"nested": {{"a": {found}}}', f'"nested_a": {text}')
            for row in rows
            for found, text in lists.items()
            if f": {found}}}" in row
        ]

    with http({"/people": people.since}) as url:
        stream = {
            "name": "people",
            "path": "/people",
            "primary_keys": ["id"],
            "records_path": "$[*]",
            "replication_key": "updated_at",
            "start_date": "2026-01-01T00:00:00Z",
            "source_search_field": "since",
            "source_search_query": "gt$last_run_date",
        }
        place.config = {"api_url": url, "streams": [stream]}
        yield Night({"people": flat(people.expected())})
        yield Night({"people": flat(people.expected("2026-01-03"))})
        people.hire()
        yield Night({"people": flat(people.expected("2026-01-03"))})


def rest_api(place: Place) -> Generator[Night]:
    people = People()
    nested = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": ["null", "integer"]}}},
    }
    types = {"id": "integer", "score": "number", "big": "integer", "updated_at": "string"}
    properties = {name: {"type": kind} for name, kind in types.items()}
    properties |= {name: {"type": ["null", "string"]} for name in ("name", "left")}  # type: ignore[dict-item] # a list
    schema = {"type": "object", "selected": True, "properties": {**properties, "nested": nested}}
    place.write("schema/people.json", json.dumps(schema))
    with http({"/people": people.since}) as url:
        place.config = {
            "url": f"{url}/people?since={{start_datetime}}",
            "streams": "people",
            "schema_dir": f"{place.folder}/schema",
            "datetime_key": "updated_at",
            "start_datetime": "2026-01-01T00:00:00Z",
        }
        place.catalog = {"selected": True}
        # singer-python drops a null from a list.
        yield Night({"people": [row.replace("[1, null, 3]", "[1, 3]") for row in people.expected()]})
        # The tap recognises the row at its bookmark and skips it.
        yield Night({})
        people.hire()
        yield Night({"people": people.expected("2026-01-04")})


ROWS = """
create table {0}people (
  id bigint primary key, name text, pay decimal(30,10), born date, at {1}, doc {2}, ok boolean
);
insert into {0}people values
(1, 'Zoë é', 12345678901234567890.1234567890, '2020-02-29', '2026-01-02T03:04:05.123456',
 '{{"a": [null, ""]}}', true),
(9007199254740993, null, null, null, null, null, null);
"""
FIRST = (
    '"id": 1, "name": "{name}", "pay": {pay}, "born": "2020-02-29T00:00:00+00:00", '
    '"at": "2026-01-02T03:04:05.123456+00:00", "ok": true, "doc": '
)
NULLS = '"name": null, "pay": null, "born": null, "at": null, "ok": null, "doc": null'
THIRD = NULLS.replace('"name": null', '"id": 3, "name": "three"')
CHANGES = (
    "update {0}people set name = 'new' where id = 1; delete from {0}people where id > 1; "
    "insert into {0}people (id, name) values (3, 'three')"
)
SKIP = {"on_deleted_record": "skip"}


def postgres_log(place: Place) -> Generator[Night]:
    with postgres() as (sockets, query):
        query(ROWS.format("", "timestamptz", "jsonb") + "set timezone = 'UTC'")
        query("select pg_create_logical_replication_slot('pipelinewise_postgres', 'wal2json')")
        place.config = {
            "host": str(sockets),
            "port": 5432,
            "user": "postgres",
            "password": "unused",
            "dbname": "postgres",
            "filter_schemas": "public",
            "logical_poll_total_seconds": 2,
        }
        place.catalog = {"selected": True, "replication-method": "LOG_BASED"}
        first, stream = FIRST + '{{"a": [null, ""]}}', "public-people"
        exact = first.format(name="Zoë é", pay="12345678901234567890.1234567890")
        yield Night({stream: [f"{{{exact}}}", f'{{"id": 9007199254740993, {NULLS}}}']})
        yield Night({})
        query(CHANGES.format(""))
        # The deleted row is never sent as a current one.
        yield Night(error="deleted-record")
        # This tap reads numbers from the log as floats: digits are lost before they reach the pipe.
        changed = first.format(name="new", pay="12345678901234567168")
        live = '"_sdc_deleted_at": null'
        yield Night({stream: [f"{{{changed}, {live}}}", f"{{{THIRD}, {live}}}"]}, settings=SKIP)


def mysql_log(place: Place) -> Generator[Night]:
    with mariadb() as (port, query):
        query("create database hr;" + ROWS.format("hr.", "datetime(6)", "json"))
        connection = {"host": "127.0.0.1", "port": str(port), "user": "tap", "password": "tap"}
        place.config = {**connection, "filter_dbs": "hr", "engine": "mariadb"}
        place.catalog = {"selected": True, "replication-method": "LOG_BASED"}
        first = FIRST.replace("{pay}", "12345678901234567890.1234567890") + r'"{{\"a\": [null, \"\"]}}"'
        yield Night(
            {"hr-people": [f"{{{first.format(name='Zoë é')}}}", f'{{"id": 9007199254740993, {NULLS}}}']}
        )
        yield Night({})
        query(CHANGES.format("hr."))
        yield Night(error="deleted-record")
        yield Night({"hr-people": [f"{{{first.format(name='new')}}}", f"{{{THIRD}}}"]}, settings=SKIP)
