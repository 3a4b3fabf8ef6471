"""Settings work as an SDK user expects; bad ones are reported in one clear line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.errors import SettingsError
from target_sprinto.singer.target import SprintoTarget
from tests.support.front_door import PROGRAMS, FrontDoor, people

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"api_key": "k3y", "integration_id": "x"}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": (
        {"api_key": None, "integration_id": None},
        "`api_key` is missing; `integration_id` is",
    ),
    "an empty key": ({"api_key": " "}, "`api_key` is empty"),
    "a key that is a number": ({"api_key": 987654321}, "`api_key` must be string"),
    "a key with a line break": ({"api_key": "k3y\n"}, "`api_key` has leading or trailing whitespace"),
    "a key that fits no header": (
        {"api_key": "schlüssel"},
        "which an HTTP header cannot carry",
    ),
    "an unknown region": ({"region": "mars"}, "`region` must be one of us, in, eu"),
    "a plain-http host": (
        {"api_url": "http://sprinto.example/api/external/push"},
        "plain http to another",
    ),
    "a plain-http host that looks local": (
        {"api_url": "http://127.0.0.1.example/x"},
        "plain http to another",
    ),
    "no URL": ({"api_url": "api.sprinto.com"}, "must begin with https://"),
    "long URL": ({"api_url": f"https://h/{'x' * 500}"}, "`api_url` has more than 500 characters"),
    "a URL with a password": (
        {"api_url": "https://u:s3cr3t@sprinto.example/x"},
        "no user, query",
    ),
    "a page size of 0": ({"page_size": 0}, "`page_size` must be at least 1"),
    "a page size of 101": ({"page_size": 101}, "`page_size` must be at most 100"),
    "a page size that is a word": ({"page_size": "many"}, "`page_size` must be integer"),
    "a timeout of 0": ({"request_timeout_seconds": 0}, "`request_timeout_seconds` must be more than 0"),
    "entity types in a list": ({"entity_types": ["User"]}, "`entity_types` must be object"),
    "an empty entity type": ({"entity_types": {"people": " "}}, "no entity type for stream 'people'"),
    "an entity type that is too long": (
        {"entity_types": {"people": "x" * 256}},
        "`entity_types` has a name over 255 characters for stream 'people'",
    ),
    "an expectation of no name": ({"expect": {"": {"min_records": 1}}}, "`expect` names an entity type"),
    "an expectation of a long name": ({"expect": {"x" * 256: {"min_records": 1}}}, "has over 255 characters"),
    "expect in a number": ({"expect": {"User": 5}}, "`expect.User` must be object"),
    "an expectation that is a word": (
        {"expect": {"User": {"min_records": "x"}}},
        "`expect.User.min_records` must be int",
    ),
    "a negative expectation": ({"expect": {"User": {"min_records": -1}}}, "must be at least 0"),
    "a misspelled expectation": (
        {"expect": {"User": {"max_record": 1}}},
        "unknown `expect.User.max_record` (did you mean `max_records`?)",
    ),
    "expect of something else": (
        {"expect": {"User": {"order": 1}}},
        "unknown `expect.User.order` (min_records, max_records, max_shrink_percent, unique)",
    ),
    "a provenance that is too long": (
        {"provenance": {"query": "x" * 201}},
        "`provenance.query` must have at most 200 characters",
    ),
    "an unknown choice": (
        {"unmapped_streams": "drop"},
        "must be one of keep, ignore, fail",
    ),
    "batch_size_rows": ({"batch_size_rows": 500}, "`batch_size_rows` is not supported: use `page_size`"),
    "load_method": ({"load_method": "upsert"}, "`load_method` is not supported"),
    "add_record_metadata": ({"add_record_metadata": True}, "`add_record_metadata` is not supported"),
    "flattening without a depth": ({"flattening_enabled": True}, "flattening_max_depth is required"),
    "a negative depth": (
        {"flattening_enabled": True, "flattening_max_depth": -2},
        "`flattening_max_depth` must be at least 0",
    ),
    "a key length of 0": (
        {"flattening_max_key_length": 0},
        "`flattening_max_key_length` must be at least 1",
    ),
    "a held dry run": (
        {"finish": "hold", "dry_run": True, "report_path": "r.json"},
        "`finish: hold` and `dry_run` cannot be combined",
    ),
    "holding without a receipt": ({"finish": "hold"}, "`finish: hold` needs `report_path`"),
    "a page": (
        {"report_path": "receipts/r.HTML"},
        "`report_path` must end in .json or be a folder: `sprintoctl receipt FILE --html`",
    ),
    "a receipt's key without a receipt": (
        {"receipt_key_file": "k"},
        "`receipt_key_file` needs `report_path`",
    ),
    **{
        f"an empty {name}": ({"report_path": "receipts", name: ""}, f"`{name}` is empty")
        for name in (
            *("api_key_file", "api_url", "client_reference_prefix", "entity_schemas", "flattening_separator"),
            *("receipt_key_file", "rejects_dir"),
        )
    },
    "an empty report path": ({"report_path": " "}, "`report_path` is empty"),
    "another finish": ({"finish": "discard"}, "`finish` must be one of apply, hold"),
    "an invalid stream map": (
        {"stream_maps": {"people": "User"}},
        "`stream_maps.people` must be an object of",
    ),
    "an invalid `__else__`": ({"stream_maps": {"__else__": "keep"}}, "`stream_maps.__else__`"),
    "an invalid `__else__` of a stream": ({"stream_maps": {"people": {"__else__": 1}}}, "`stream_maps."),
    "a field that is a number": (
        {"stream_maps": {"people": {"x": 987654321}}},
        '`stream_maps.people.x` must be an expression in quotes, or null; a constant is "1", "True" or',
    ),
    "a field that is a boolean": (
        {"stream_maps": {"people": {"x": True}}},
        "`stream_maps.people.x` must be an expression in quotes",
    ),
    "a field that is an object": (
        {"stream_maps": {"people": {"x": {"source": "y"}}}},
        "`stream_maps.people.x` must be an expression in quotes",
    ),
    "key properties that are not a list": (
        {"stream_maps": {"people": {"__key_properties__": "id"}}},
        '`stream_maps.people.__key_properties__` must be a list of fields, such as ["id"]',
    ),
    "key properties removed": (
        {"stream_maps": {"people": {"__key_properties__": "__NULL__"}}},
        "`stream_maps.people.__key_properties__` must be a list",
    ),
    "an option in the wrong place": (
        {"stream_maps": {"__key_properties__": ["id"]}},
        "unknown `stream_maps.__key_properties__` (the only option here is `__else__`)",
    ),
    "an invalid filter": (
        {"stream_maps": {"people": {"__filter__": True}}},
        "`stream_maps.people.__filter__` must be text",
    ),
    "a misspelled option": (
        {"stream_maps": {"people": {"__key_propertys__": ["id"]}}},
        "unknown `stream_maps.people.__key_propertys__` (did you mean `__key_properties__`?)",
    ),
    "a misspelled option that could be a field": (
        {"stream_maps": {"people": {"__fliter__": "True"}}},
        "unknown `stream_maps.people.__fliter__` (did you mean `__filter__`?)",
    ),
    "an unknown option": (
        {"stream_maps": {"people": {"__where__": "id > 1"}}},
        "unknown `stream_maps.people.__where__` (the options are __alias__, __else__, __filter__,",
    ),
    "an alias beside a source": (
        {"stream_maps": {"staff": {"__source__": "people", "__alias__": "people"}}},
        "`stream_maps.staff` has `__source__`, so its own name is the alias: remove `__alias__`",
    ),
    "an alias that is null": (
        {"stream_maps": {"people": {"__alias__": None}}},
        "`stream_maps.people.__alias__` must be text",
    ),
    "a stream map that was null": (
        {"stream_maps": {"people": {}}},
        "makes of null: `__NULL__` leaves the stream out; to send it unchanged, remove the entry, and set",
    ),
    "a field that was null": (
        {"stream_maps": {"people": {"name": {}}}},
        "`stream_maps.people.name` is an empty object, which Meltano makes of null: write `__NULL__`",
    ),
    "other fields that were null": (
        {"stream_maps": {"people": {"id": "id", "__else__": {}}}},
        "`stream_maps.people.__else__` is an empty object",
    ),
    "other streams that were null": ({"stream_maps": {"__else__": {}}}, "`stream_maps.__else__` is an empty"),
    "an unknown rule for other fields": (
        {"stream_maps": {"people": {"__else__": "keep"}}, "page_size": 0},
        "`stream_maps.people.__else__` must be null or `__NULL__`; `page_size` must be at least 1",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_setting_is_reported_with_its_rule_but_not_its_value(door: FrontDoor, what: str) -> None:
    settings, text = BAD[what]
    finished = door.run(b"", **(GOOD | {"api_url": None} | settings))
    assert (finished.code, finished.stdout) == (1, "")
    assert text in finished.error
    assert "[settings]" in finished.error
    assert "987654321" not in finished.stderr
    assert "schlüssel" not in finished.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        ("{", "is not JSON (line 1, column 2). Check it with"),
        ('{"api_key": "k3y",\n "page_size": 1,\n}', "is not JSON (line "),
        ("# s3cr3t\napi_key: k3y", "is not JSON (line 1, column 1)"),
        ('{"page_size": NaN}', "is not JSON. Check it with"),
        (" \n", "is empty"),
        ("[]", "does not hold a JSON object"),
        ("\xff", "is not UTF-8"),
        ('{"stream_maps": {"p": {"s": null}, "p": {"n": null}}}', "has 'p' twice in one object"),
        ('{"dry_run": true, "dry_run": false}', "has 'dry_run' twice in one object"),
    ],
)
def test_an_unusable_config_file_is_reported(
    door: FrontDoor, tmp_path: Path, content: str | None, text: str
) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    finished = door.run(b"", "--config", str(path))
    assert finished.code == 1
    assert "k3y" not in finished.stderr
    assert "mine.json" in finished.error
    assert text in finished.error


def test_later_config_files_win(door: FrontDoor) -> None:
    first, second = door.config(page_size=10), door.folder / "second.json"
    second.write_text(json.dumps({"page_size": 20}))
    assert door.run(people(40), "--config", str(first), "--config", str(second)).code == 0
    assert door.pages() == [20, 20]


def test_the_environment_is_read_with_config_env(door: FrontDoor) -> None:
    env = {
        "TARGET_SPRINTO_API_KEY": "sandbox-key",
        "TARGET_SPRINTO_INTEGRATION_ID": door.integration_id,
        "TARGET_SPRINTO_API_URL": door.sandbox.base_url,
        "TARGET_SPRINTO_PAGE_SIZE": "7",
        "TARGET_SPRINTO_COMPRESS": "false",
        "TARGET_SPRINTO_REQUEST_TIMEOUT_SECONDS": "12.5",
        "TARGET_SPRINTO_ENTITY_TYPES": '{"people": "User"}',
    }
    assert door.run(people(14), "--config", "ENV", env=env).code == 0
    assert door.pages() == [7, 7]
    assert list(door.applied()) == ["User"]
    push = next(seen for seen in door.sandbox.requests(door.integration_id) if seen.operation == "push")
    assert "Content-Encoding" not in push.headers


def test_a_variable_that_is_not_read_causes_a_warning(door: FrontDoor) -> None:
    env = {"TARGET_SPRINTO_DRY_RUN": "true", "TARGET_SPRINTO_API_KEY": "sandbox-key"}
    env |= {"TARGET_SPRINTO_ENTITY_TYPES": "[s3cr3t", "TARGET_SPRINTO_COMPRESS": "true"}
    finished = door.run(people(1), "--config", str(door.config()), env=env)
    assert finished.code == 0
    (line,) = [line for line in finished.stderr.splitlines() if "--config ENV" in line]
    assert "WARNING" in line
    assert "set but not read: TARGET_SPRINTO_ENTITY_TYPES; TARGET_SPRINTO_DRY_RUN. Add `--config ENV`" in line


def test_variables_that_meltano_sets_cause_no_warning(door: FrontDoor) -> None:
    folder = door.folder / ".meltano" / "run"
    folder.mkdir(parents=True)
    config = str(door.config().rename(folder / "config.json"))
    finished = door.run(people(1), "--config", config, env={"TARGET_SPRINTO_DRY_RUN": "true"})
    assert finished.code == 0
    assert "--config ENV" not in finished.stderr


def test_a_dotenv_file_in_the_working_folder_is_read(door: FrontDoor, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TARGET_SPRINTO_PAGE_SIZE=5\n")
    config = door.config()
    assert door.run(people(10), "--config", str(config), "--config", "ENV").code == 0
    assert door.pages() == [5, 5]


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("PAGE_SIZE", "s3cr3t", "integer"),
        ("REQUEST_TIMEOUT_SECONDS", "s3cr3t", "number"),
        ("ENTITY_TYPES", "{s3cr3t", "object (line 1, column 2)"),
        ("ENTITY_TYPES", '["s3cr3t"]', "object"),
    ],
)
def test_an_invalid_environment_variable_is_reported(
    door: FrontDoor, variable: str, value: str, kind: str
) -> None:
    env = {f"TARGET_SPRINTO_{variable}": value}
    finished = door.run(b"", "--config", str(door.config()), "--config", "ENV", env=env)
    assert finished.code == 1
    assert f"TARGET_SPRINTO_{variable} is not a valid {kind}" in finished.error


def test_a_variable_with_a_duplicate_key_is_rejected(door: FrontDoor) -> None:
    env = {"TARGET_SPRINTO_STREAM_MAPS": '{"people": {"name": null}, "people": {"id": "id"}}'}
    finished = door.run(people(1), "--config", str(door.config()), "--config", "ENV", env=env)
    assert (finished.code, door.operations()) == (1, [])
    assert "TARGET_SPRINTO_STREAM_MAPS has 'people' twice in one object" in finished.error


def test_a_null_setting_has_its_default(door: FrontDoor, tmp_path: Path) -> None:
    path = tmp_path / "nulls.json"
    nulls = dict.fromkeys(["region", "page_size", "unmapped_streams", "expect", "compress"])
    path.write_text(json.dumps(nulls))
    config = str(door.config(entity_types={"people": "User"}))
    assert door.run(people(3), "--config", config, "--config", str(path)).code == 0


def test_an_unknown_setting_causes_a_warning(door: FrontDoor) -> None:
    finished = door.run(people(1), pagination="by the page")
    assert finished.code == 0
    assert "Unknown settings, ignored: pagination" in finished.stderr


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("page_sise", "page_size"),
        ("dryrun", "dry_run"),
        ("expects", "expect"),
        ("page-size", "page_size"),
        ("entityTypes", "entity_types"),
    ],
)
def test_a_misspelled_setting_is_rejected(door: FrontDoor, written: str, meant: str) -> None:
    finished = door.run(people(1), **{written: 5})
    assert (finished.code, finished.stdout) == (1, "")
    assert f"unknown setting `{written}` (did you mean `{meant}`?)" in finished.error
    assert door.operations() == []


@pytest.mark.parametrize("written", ["TARGET_SPRINTO_DRYRUN", "TARGET_SPRINTO_dry_run"])
def test_a_misspelled_environment_variable_is_rejected(door: FrontDoor, written: str) -> None:
    config = str(door.config())
    finished = door.run(people(1), "--config", config, "--config", "ENV", env={written: "true"})
    assert (finished.code, finished.stdout) == (1, "")
    meant = "(did you mean TARGET_SPRINTO_DRY_RUN?)"
    assert f"unknown environment variable {written} {meant}" in finished.error
    assert door.operations() == []


@pytest.mark.parametrize("prefix", ["HR_", "_HR_", "2_"])
def test_variables_of_an_inherited_loader_are_ignored(door: FrontDoor, prefix: str) -> None:
    """Named after loaders such as `target-sprinto-hr`, `target-sprinto--hr`, `target-sprinto-2`."""
    others = {"API_KEY": "an0ther-k3y", "INTEGRATION_ID": "x", "PAGE_SIZE": "many", "DRY_RUN": "true"}
    env = {f"TARGET_SPRINTO_{prefix}{name}": value for name, value in others.items()}
    finished = door.run(people(1), "--config", str(door.config()), "--config", "ENV", env=env)
    assert finished.code == 0, finished.stderr
    assert prefix not in finished.stderr
    assert "an0ther-k3y" not in finished.stderr
    assert len(door.applied()["people"]) == 1


def test_a_stream_name_that_looks_like_a_pattern_matches_itself(door: FrontDoor) -> None:
    messages = [
        message | {"stream": "people[1]"} if "stream" in message else message for message in people(1)
    ]
    other = [message | {"stream": "devices"} for message in people(1) if "stream" in message]
    finished = door.run([*other, *messages], entity_types={"people[1]": "people"})
    assert finished.code == 0
    assert "misspelled" not in finished.stderr


def test_a_map_for_another_taps_stream_causes_no_warning(door: FrontDoor) -> None:
    maps = {"peop*": {"name": "name"}, "devices": "__NULL__", "same": {"__source__": "people"}}
    finished = door.run(people(1), stream_maps=maps)
    assert finished.code == 0
    assert "misspelled" not in finished.stderr


def test_inline_settings_are_not_repeated_in_the_error(door: FrontDoor) -> None:
    finished = door.run(b"", "--config", '{"api_key": "sandbox-key"}')
    assert finished.code == 1
    assert "config file no. 1 cannot be read (No such file" in finished.error


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setpriv"), reason="root may read every file")
@pytest.mark.parametrize("program", ["target-sprinto", "sprintoctl"])
def test_a_config_of_another_user_is_an_error_in_the_settings(door: FrontDoor, program: str) -> None:
    config = door.config()
    config.chmod(0)
    powerless = "-dac_override,-dac_read_search"
    through = ["setpriv", "--bounding-set", powerless, "--inh-caps", powerless] if os.geteuid() == 0 else []
    words = ["check"] if program == "sprintoctl" else []
    command = [*through, sys.executable, *PROGRAMS[program], *words, "--config", str(config)]
    finished = subprocess.run(command, input=b"", capture_output=True, check=False, cwd=door.folder)
    assert finished.returncode == 1
    assert b"cannot be read (Permission denied)" in finished.stderr
    assert finished.stderr.rstrip().endswith(b"[settings]")


@pytest.mark.parametrize("content", ["NaN", '{"page_size": Infinity}', '{"request_timeout_seconds": 1e10}'])
def test_a_number_that_is_not_finite_or_too_large_is_reported(
    door: FrontDoor, tmp_path: Path, content: str
) -> None:
    (tmp_path / "mine.json").write_text(content)
    finished = door.run(b"", "--config", str(door.config()), "--config", str(tmp_path / "mine.json"))
    assert finished.code == 1
    assert "[settings]" in finished.error


def test_a_config_file_in_another_encoding_is_reported(door: FrontDoor, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}", encoding="utf-16")
    finished = door.run(b"", "--config", str(tmp_path / "mine.json"))
    assert "is not UTF-8" in finished.error


def test_a_config_may_be_a_pipe(door: FrontDoor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = door.start("--config", str(tmp_path / "pipe"))
    (tmp_path / "pipe").write_text(door.config().read_text())
    assert door.finish(process, people(3)).code == 0


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("LOAD_METHOD", "upsert", "`load_method` is not supported"),
        ("BATCH_SIZE_ROWS", "5", "`batch_size_rows` is not supported"),
        ("REQUIRE_FINAL_STATE", "flase", "REQUIRE_FINAL_STATE is not a valid boolean"),
        ("REQUEST_TIMEOUT_SECONDS", "nan", "REQUEST_TIMEOUT_SECONDS is not a valid number"),
        ("API_URL", "", "`api_url` is empty"),
        ("RECEIPT_KEY_FILE", "", "`receipt_key_file` is empty"),
        ("API_URL", "https://x..y/", "must begin with https:// and name a host"),
        ("REPORT_PATH", "caf\udce9/{run}.json", "`report_path` is not UTF-8"),
        ("REJECTS_DIR", "caf\udce9", "`rejects_dir` is not UTF-8"),
        ("ENTITY_TYPES", '{"people": "caf\udce9"}', "`entity_types` is not UTF-8"),
        ("ENTITY_TYPES", '{"caf\udce9": "User"}', "`entity_types` is not UTF-8"),
        ("PROVENANCE", '{"tap": "caf\udce9"}', "`provenance` is not UTF-8"),
        ("STREAM_MAPS", '{"people": {"name": "\'caf\udce9\'"}}', "`stream_maps` is not UTF-8"),
    ],
)
def test_the_environment_follows_the_same_rules(
    door: FrontDoor, variable: str, value: str, text: str
) -> None:
    env = {f"TARGET_SPRINTO_{variable}": value}
    finished = door.run(b"", "--config", str(door.config()), "--config", "ENV", env=env)
    assert finished.code == 1
    assert text in finished.error


def test_boolean_variables_may_have_surrounding_blanks(door: FrontDoor) -> None:
    env = {"TARGET_SPRINTO_REQUIRE_FINAL_STATE": "TRUE "}
    finished = door.run(people(3)[:-1], "--config", str(door.config()), "--config", "ENV", env=env)
    assert "[missing-final-state]" in finished.error


@pytest.mark.parametrize("program", ["target-sprinto", pytest.param("sprintoctl", marks=pytest.mark.slow)])
def test_an_invalid_log_level_is_reported(door: FrontDoor, program: str) -> None:
    words = [*(["check"] if program == "sprintoctl" else []), "--config", str(door.config())]
    env = {"TARGET_SPRINTO_LOGLEVEL": "loud"}
    finished = door.run(people(1), *words, program=program, env=env, cold=True)
    assert (finished.code, finished.stdout) == (1, "")
    assert "TARGET_SPRINTO_LOGLEVEL must be one of DEBUG, INFO," in finished.stderr
    assert finished.stderr.endswith("CRITICAL. Correct it, or unset it. [settings]\n")
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wait_timeout_seconds", float("nan")),
        ("request_timeout_seconds", float("inf")),
        ("expect", {"User": {"max_shrink_percent": float("nan")}}),
    ],
)
def test_a_non_finite_number_is_an_error_from_python_too(name: str, value: object) -> None:
    config: dict[str, Any] = {"api_key": "k", "integration_id": "i", name: value}
    with pytest.raises(SettingsError, match=f"`{name}` holds NaN or Infinity"):
        SprintoTarget(config=config)
