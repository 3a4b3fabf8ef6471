#!/usr/bin/env python3
"""A small Singer tap: sends the rows of a JSON file that are newer than the bookmark in its `--state`.

Its config can make it stop early: after `die_after` rows it kills itself, after `stall_after` rows it
keeps running without sending more. A STATE follows every `state_every` rows and the last row; it is
sent before a crash or a stall.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

STREAM = "people"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": ["string", "null"]},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=_document, required=True)
    parser.add_argument("--state", type=_document, default={})
    arguments = parser.parse_args()
    sync(arguments.config, arguments.state)


def sync(config: dict[str, Any], state: dict[str, Any]) -> None:
    since = state.get("bookmarks", {}).get(STREAM, {}).get("replication_key_value", "")
    rows = sorted(_document(config["path"]), key=lambda row: row["updated_at"])
    fresh = [row for row in rows if row["updated_at"] > since]
    print(f"tap-people: {len(fresh)} rows since {since or 'the beginning'}", file=sys.stderr)

    added: dict[str, Any] = {name: {} for row in rows for name in row if name not in SCHEMA["properties"]}
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], **added}}
    _write(type="SCHEMA", stream=STREAM, schema=schema, key_properties=["id"])
    for sent, row in enumerate(fresh, 1):
        _write(type="RECORD", stream=STREAM, record=row)
        since = row["updated_at"]
        if sent % config["state_every"] == 0:
            _write_state(since)
        if sent == config.get("die_after"):
            os.kill(os.getpid(), signal.SIGKILL)
        if sent == config.get("stall_after"):
            signal.pause()
    _write_state(since)


def _write_state(since: str) -> None:
    bookmark = {"replication_key": "updated_at", "replication_key_value": since}
    _write(type="STATE", value={"bookmarks": {STREAM: bookmark}} if since else {})


def _write(**message: object) -> None:
    print(json.dumps(message), flush=True)


def _document(path: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(Path(path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
