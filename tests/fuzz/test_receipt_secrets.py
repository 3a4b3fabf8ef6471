"""No record value or secret is in a receipt, its HTML report or its envelope, whatever the input."""

from __future__ import annotations

import base64
import gzip
import json
import random
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from target_sprinto.receipts import receipt_html
from target_sprinto.receipts.document import parse
from target_sprinto.receipts.provenance import VARIABLES
from target_sprinto.receipts.signing import keys
from target_sprinto.sandbox import EntityRules
from tests.support.front_door import API_KEY, STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.front_door import FrontDoor

FIELDS = ("id", "name", "e-mail", "größe", "nested", "_sdc_deleted_at", "status")
TYPES: tuple[Any, ...] = ({}, {"type": "string"}, {"type": "integer"}, {"type": "object"}, {"maxLength": 4})
VALID_EXPRESSIONS = ("str(id)", "config['seed']", "md5(config['seed'] + str(id))")
EXPRESSIONS = ("name", "id + 1", "md5(config['seed'] + str(name))", "1 / 0", *VALID_EXPRESSIONS)
OTHER_VARIABLES = (
    "GITHUB_TOKEN",
    "CI_JOB_TOKEN",
    "TAP_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "MELTANO_X",
    "DBT",
)


class Made:
    """A run's random input. `secrets` are the recognisable parts of all values that must not leak.

    `valid` input can be delivered completely: otherwise nearly every run would fail at its first record.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - not real secrets
        self.secrets: list[str] = []
        self.valid = self.chance.random() < 0.5

    def core(self) -> str:
        self.secrets.append(f"{self.chance.randrange(16**12, 16**13):x}")
        return self.secrets[-1]

    def text(self) -> str:
        """A secret among characters that some format escapes."""
        around = self.chance.choices(
            ["", " ", '"', "<b>", "&", "\\", "\n", "\x1b[1m", "é", "'", "%s", "${}"], k=2
        )
        return self.core().join(around)

    def number(self) -> int:
        self.secrets.append(str(self.chance.randrange(10**14, 10**15)))
        return int(self.secrets[-1])

    def value(self, depth: int = 2) -> Any:  # noqa: ANN401 - any JSON
        kinds: list[Callable[[], Any]] = [self.text, self.number, lambda: None]
        if depth:
            kinds += [
                lambda: {self.text(): self.value(depth - 1)},
                lambda: [self.value(depth - 1) for _ in range(2)],
            ]
        return self.chance.choice(kinds)()

    def environment(self) -> dict[str, str]:
        """Secrets in other variables, and invalid names in the variables that are shown."""
        found = {name: self.core() for name in OTHER_VARIABLES}
        found |= {f"{name}_{self.chance.randrange(9)}": self.core() for name in VARIABLES}
        odd = self.chance.sample(VARIABLES, 4)
        return found | {
            name: f"{self.core()}{self.chance.choice(['=', '<', chr(10), 'x' * 200])}" for name in odd
        }

    def stream_maps(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            name: self.chance.choice(VALID_EXPRESSIONS if self.valid else EXPRESSIONS)
            for name in self.chance.sample(FIELDS, 3)
            if name.isidentifier()
        }
        return {"people": fields | ({"__else__": None} if self.chance.random() < 0.5 else {})}

    def messages(self, folder: Path) -> list[Any]:
        types: tuple[Any, ...] = ({},) if self.valid else TYPES
        properties = {name: self.chance.choice(types) for name in FIELDS} | {"id": {}}
        required = [] if self.valid else self.chance.sample(FIELDS, 1)
        schema = {"properties": properties, "required": required}
        lines: list[Any] = [
            {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]},
            *(self.record() for _ in range(self.chance.randrange(1, 12))),
            *(self.batch(folder) for _ in range(self.chance.choice([0, 0, 1, 2]))),
            STATE,
        ]
        if not self.valid and self.chance.random() < 0.3:
            broken: tuple[Any, ...] = (
                f'{{"type": "RECORD", "stream": "people", "record": {{"id": NaN, "name": "{self.core()}"}}}}',
                f'{{"type": "{self.core()}"}}',
                f'{{"type": "RECORD", "record": {{"name": "{self.core()}"',
                f'{{"type": "RECORD", "stream": "people", "record": "{self.core()}"}}',
            )
            lines.insert(-1, self.chance.choice(broken).encode())
        return lines

    def batch(self, folder: Path) -> dict[str, Any]:
        """Records in a file, in which a line may be broken."""
        lines = [json.dumps(self.record()["record"]).encode() for _ in range(self.chance.randrange(1, 6))]
        if not self.valid and self.chance.random() < 0.3:
            lines[-1] = lines[-1][:-4]
        path = folder / f"{self.chance.random()}.jsonl"
        compression = self.chance.choice(["gzip", "none"])
        content = b"\n".join(lines)
        path.write_bytes(gzip.compress(content) if compression == "gzip" else content)
        return {
            "type": "BATCH",
            "stream": "people",
            "encoding": {"format": "jsonl", "compression": compression},
            "manifest": [path.as_uri()],
        }

    def record(self) -> dict[str, Any]:
        values = {name: self.value() for name in self.chance.sample(FIELDS[1:], 4)} | {"id": self.number()}
        return {
            "type": "RECORD",
            "stream": "people",
            "record": values,
            "time_extracted": self.value() if self.chance.random() < 0.5 else "2026-11-28T12:00:00Z",
            self.core(): self.text(),
        }


def shown(path: Path) -> str:
    """Everything an auditor gets, escaped and unescaped: receipt, HTML report, envelope and payload."""
    envelope = path.with_name(f"{path.name}.dsse").read_text()
    payload = base64.b64decode(json.loads(envelope)["payload"]).decode()
    text = path.read_text()
    unescaped = json.dumps([json.loads(text), json.loads(payload)], ensure_ascii=False)
    page = receipt_html.render(parse(path, path.read_bytes()), "unsigned").decode()
    return "\n".join([text, unescaped, unescape(page), envelope]).lower()


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 150))]
)
def test_no_value_and_no_secret_is_in_a_receipt(door: FrontDoor, seed: int) -> None:
    made = Made(seed)
    private, _ = keys().generate()
    (door.folder / "key.pem").write_bytes(private)
    (door.folder / "key.pem").chmod(0o600)
    (door.folder / "api-key").write_text(API_KEY)
    (door.folder / "api-key").chmod(0o600)
    by_file = made.chance.random() < 0.5
    rules = EntityRules(schema={"properties": {"name": {"type": "string", "maxLength": 20}}})
    entities = {} if made.valid else {"people": rules, "User": rules}
    door.sandbox.configure(door.integration_id, entities=entities)
    ending: Mapping[str, Any] = made.chance.choice([{}, {}, {"dry_run": True}, {"finish": "hold"}])
    finished = door.run(
        made.messages(door.folder),
        env=made.environment(),
        api_key=None if by_file else API_KEY,
        api_key_file="api-key" if by_file else None,
        receipt_key_file="key.pem",
        report_path="receipt.json",
        stream_maps=made.stream_maps() if made.chance.random() < 0.5 else None,
        stream_map_config={"seed": made.core(), made.core(): made.text()},
        entity_types={"people": "User"} if made.chance.random() < 0.5 else None,
        on_invalid_record=made.chance.choice(["fail", "divert"]),
        on_deleted_record=made.chance.choice(["skip", "send"] if made.valid else ["fail", "skip", "send"]),
        expect={"User": {"unique": ["name"]}} if made.chance.random() < 0.3 else None,
        **ending,
    )
    path = door.folder / "receipt.json"
    seen = shown(path) + finished.stderr.lower()
    secrets = [*made.secrets, API_KEY, *private.decode().splitlines()[1:-1]]
    assert [secret for secret in secrets if secret.lower() in seen] == []
    assert (finished.code == 0) == (json.loads(path.read_bytes())["exit_code"] == 0)
