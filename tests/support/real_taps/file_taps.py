"""Taps that read files: each function writes the source, yields a night, changes the source, yields the next.

Expected records are written by hand from the source, with the columns that a tap adds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.real_taps.nights import MORNING, Night

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.support.real_taps.nights import Place


def csv_folder(place: Place) -> Generator[Night]:
    path = place.write(
        "in/people.csv", 'id,name,amount,hired\r\n1,"Zoë, 👩\u200d💻",0012.3400,2020-02-29\r\n'
    )
    place.config = {"path": str(place.folder / "in"), "read_mode": "one_stream_per_file"}
    added = f'"_sdc_path": "{path}", "_sdc_modified_at": "2026-01-01T10:04:05+00:00"'
    first = (
        f'{{"id": "1", "name": "Zoë, 👩\u200d💻", "amount": "0012.3400", "hired": "2020-02-29", '
        f'"_sdc_line_number": 2, {added}}}'
    )
    yield Night({"people": [first]})
    # It resends a file whose time equals the bookmark.
    yield Night({"people": [first]})
    place.write(
        "in/people.csv", 'id,name,amount,hired\r\n2,"two\n""lines""",,9999-12-31\r\n', at=MORNING + 3600
    )
    second = '{"id": "2", "name": "two\\n\\"lines\\"", "amount": "", "hired": "9999-12-31", '
    second += '"_sdc_line_number": 3, '
    yield Night({"people": [f"{second}{added.replace('T10', 'T11')}}}"]})
    place.write("in/people.csv", "id,name,amount,hired\r\n3,three,0,\r\n", at=MORNING + 7200)
    (place.folder / "batches").mkdir()
    encoding, storage = {"format": "jsonl", "compression": "gzip"}, f"file://{place.folder}/batches"
    place.config["batch_config"] = {"encoding": encoding, "storage": {"root": storage}}
    third = '{"id": "3", "name": "three", "amount": "0", "hired": "", "_sdc_line_number": 2, '
    yield Night({"people": [f"{third}{added.replace('T10', 'T12')}}}"]}, batches=1)


def jsonfile(place: Place) -> Generator[Night]:
    inside = (
        '"id": 9007199254740993, "name": "Zoë 👩\u200d💻", "score": -0.25, '
        '"big": 123456789012345678901234567890, "tags": ["a", null, {"b": [1]}], '
        '"manager": {"id": null, "since": "2020-02-29T00:00:00+05:45"}, '
        '"left": null, "empty": "", "on": true'
    )
    path = place.write("in/a.json", f"[{{{inside}}}]")
    place.config = {"paths": [f"{place.folder}/in/*.json"], "stream_name": "people"}
    yield Night({"people": [f'{{{inside}, "_sdc_source_file": "{path}"}}']})
    yield Night({})
    path = place.write("in/b.json", '{"id": 2, "name": null}\n{"id": 3, "name": "שלום"}\n')
    added = f'"_sdc_source_file": "{path}"}}'
    yield Night({"people": [f'{{"id": 2, "name": null, {added}', f'{{"id": 3, "name": "שלום", {added}']})


def spreadsheets(place: Place) -> Generator[Night]:
    path = place.write("in/staff.csv", "Id;Full name;Salary\n1;Zoë 👩;1234567.25\n2;two, commas,;\n")
    place.config = {
        "files": [
            {
                "path": f"{place.folder}/in/*.csv",
                "format": "csv",
                "delimiter": ";",
                "table_name": "staff",
                "primary_keys": ["Id"],
            }
        ]
    }
    added = f'"_sdc_filename": "{path}", "_sdc_stream": "staff", "_sdc_worksheet": null, '
    added += '"_sdc_last_modified": "2026-01-01T10:04:05+00:00"}'
    rows = [f'{{"id": "1", "full_name": "Zoë 👩", "salary": "1234567.25", {added}']
    rows += [f'{{"id": "2", "full_name": "two, commas,", "salary": "", {added}']
    yield Night({"staff": rows})
    yield Night({})
    place.write("in/staff.csv", "Id;Full name;Salary\n3;new;0.1\n", at=MORNING + 3600)
    new = f'{{"id": "3", "full_name": "new", "salary": "0.1", {added.replace("T10", "T11")}'
    yield Night({"staff": [new]})


def filesanywhere(place: Place) -> Generator[Night]:
    values = ['"id": "1", "name": "Zoë 👩", "score": "1.50"', '"id": "2", "name": null, "score": "-0"']
    place.write("in/a.jsonl", "".join(f"{{{each}}}\n" for each in values))
    uri = f"file://{place.folder}/in"
    table = {
        "path": uri,
        "name": "people",
        "pattern": ".*jsonl$",
        "key_properties": ["id"],
        "format": "jsonl",
    }
    place.config = {"tables": [table]}
    added = f'"_sdc_source_bucket": "{uri}", "_sdc_source_file": "a.jsonl"'
    added += ', "last_modified": "2026-01-01T10:04:05+00:00"'
    rows = [f'{{{each}, {added}, "_sdc_source_lineno": {line}}}' for line, each in enumerate(values, 2)]
    yield Night({"people": rows})
    place.write("in/b.jsonl", '{"id": "3", "name": "three", "score": ""}\n', at=MORNING + 3600)
    new = '{"id": "3", "name": "three", "score": "", "_sdc_source_lineno": 2, '
    new += added.replace("a.jsonl", "b.jsonl").replace("T10", "T11") + "}"
    yield Night({"people": [new]})


def singer_jsonl(place: Place) -> Generator[Night]:
    schema = '{"type": "object", "properties": {"id": {"type": "integer"}, "doc": {}}}'
    head = f'{{"type": "SCHEMA", "stream": "people", "key_properties": ["id"], "schema": {schema}}}\n'
    record = '"id": 12345678901234567890, "doc": {"a": [null, 0.25, ""], "ü": "👩"}'
    place.write(
        "in/a.singer.jsonl", f'{head}{{"type": "RECORD", "stream": "people", "record": {{{record}}}}}\n'
    )
    place.config = {"source": "local", "local": {"folders": [f"{place.folder}/in"]}}
    # It passes the file through: without a STATE in the file, there is none in the input.
    yield Night(error="missing-final-state")
    with (place.folder / "in" / "a.singer.jsonl").open("a") as file:
        file.write('{"type": "STATE", "value": {"bookmarks": {"people": {"at": 1}}}}\n')
    added = '"_sdc_source_file": "a.singer.jsonl", "_sdc_source_lineno": 2'
    yield Night({"people": [f"{{{record}, {added}}}"]})


def test_data_generator(place: Place) -> Generator[Night]:
    schema = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 7, "maximum": 7}}}
    place.write("schema/people.json", json.dumps(schema))
    place.write("meta/people.json", '[{"breadcrumb": [], "metadata": {"selected": true}}]')
    (place.folder / "repository").mkdir()
    place.config = {
        "schema_dir": f"{place.folder}/schema",
        "metadata_dir": f"{place.folder}/meta",
        "object_repository_dir": f"{place.folder}/repository",
        "record_number": 1,
        "apply_record_number_on_pairwise": True,
        "generate_pairwise_hash": False,
    }
    place.catalog = {"selected": True}
    # It never writes a STATE. As documented for this case, require the records themselves.
    yield Night(error="missing-final-state")
    at_least = {"require_final_state": False, "expect": {"people": {"min_records": 2}}}
    yield Night(error="too-few-records", settings=at_least)
    at_least = {"require_final_state": False, "expect": {"people": {"min_records": 1}}}
    yield Night({"people": ['{"id": 7}']}, settings=at_least)
