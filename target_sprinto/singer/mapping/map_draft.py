"""Proposes how to map a tap's stream to an entity type: how sure each field is, and why. Pure.

Names decide: a source field is proposed only if its name means the same as the target's, by the table below.
A person decides the rest: the date of an account, for example, is not a date of employment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from target_sprinto.push.text import in_columns
from target_sprinto.singer.mapping.map_rules import reading, unless_null
from target_sprinto.singer.mapping.tap_sample import Path, StreamSample, fields_in
from target_sprinto.singer.schemas.entity_schemas import EntitySchema
from target_sprinto.singer.schemas.schema_parts import types_of

UNDECIDED = "?"
_LIKELY = 100
"""From this rank on, a name often has the meaning, but not always."""

_MEANINGS = """
employee id
    employee number, employee no, worker id, person id, staff id, user id, id, employee id in company
first name, firstname, given name, forename
    preferred first name
last name, lastname, family name, surname
    preferred last name, sn
full name, fullname
    display name, real name, employee name, name
employment start date, hire date, hired at, hired on, date of hire, joining date, date of joining
    hired, start date, employee hire date, original hire date, original start date
employment end date, termination date, terminated at, date of leaving, last working day
    relieving date, end date, left on, left at, employee leave date time
work email, work email address
    email, email address, primary email, mail, business email, company email
manager id, manager employee id
    supervisor id, supervisor e id, reports to id, reports to, line manager id
job title, role
    title, position, position title, role name
job description, role description
    position description
employment type
    employee type, worker type, contract type
"""
"""For people, by meaning: names that always have it, then names that often have it; the likeliest first."""

_WRAPPERS = re.compile(r"attributes|properties|fields")
"""Objects whose name does not change the meaning of their fields."""
_PERSONAL = re.compile(rf"{_WRAPPERS.pattern}|profile|work|name|employee|user|person|personal")
"""The same for people only: a device's `user.id` identifies its owner."""

_ACCOUNT_EVENTS = re.compile(r"creat|activat|updat|modif|login|chang|expir|last seen|registered|sync")
_PEOPLE = re.compile(r"\b((employee|user|person|worker|contractor|member)s?|people|staff|directory)\b")


@dataclass(frozen=True)
class Proposal:
    """One target field: the rule for its stream map, its source, how sure that is, and why.

    `rule` is None if nothing is proposed, and UNDECIDED if a person must decide. `level` is "sure", "likely",
    "decide" or "".
    """

    field: str
    source: str
    rule: str | None
    level: str
    why: str


def words(name: str) -> str:
    """A name as lower-case words: `employeeId`, `employee_id` and `Employee ID` are "employee id"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.findall(r"[^\W_]+", spaced)).lower()


def type_of(stream: str, entities: Mapping[str, EntitySchema]) -> str | None:
    """The entity type that a stream's name suggests, if there is one for people."""
    if not _PEOPLE.search(words(stream)):
        return None
    return next((name for name in entities if _PEOPLE.search(words(name))), None)


def draft(sample: StreamSample, entity: EntitySchema) -> list[Proposal]:
    """A proposal for each field that the entity type names, in its order."""
    sources = {path: (schema, may_be_null) for path, schema, may_be_null in fields_in(sample.schema)}
    named = dict.fromkeys([*entity.fields, *entity.required])
    return [_propose(field, sample, entity, sources) for field in named]


def _propose(
    field: str,
    sample: StreamSample,
    entity: EntitySchema,
    sources: Mapping[Path, tuple[dict[str, Any], bool]],
) -> Proposal:
    wanted = entity.fields.get(field, {})
    undecided = UNDECIDED if field in entity.required else None
    is_person = bool(_PEOPLE.search(words(entity.entity_type)))
    ranked = sorted(_ranked(field, sources, is_person=is_person))
    usable = [(rank, path) for rank, path in ranked if _may_fit(sources[path][0], wanted)]
    if not usable:
        return Proposal(
            field, "", undecided, "decide" if undecided else "", _why_no_source(field, wanted, sources)
        )
    rank, path = usable[0]
    schema, may_be_null = sources[path]
    level = "sure" if rank < _LIKELY and len(usable) == 1 else "likely"
    # In identity and support taps, this is the name of an account's access rights.
    is_right = words(path[-1]) == "role"
    why = "same name" if rank == 0 else "same meaning" if rank < _LIKELY else "usual name"
    if len(usable) > 1:
        why += f"; or {', '.join('.'.join(other) for _, other in usable[1:3])}"
    rule, doubt = _converted(_read(path, sample, may_be_null), path, schema, wanted, sample)
    if rule is None:
        rule, level = undecided, "decide"
    elif doubt or is_right:
        level = "likely"
    right = "may be an access role" if is_right else ""
    return Proposal(field, ".".join(path), rule, level, "; ".join(filter(None, (why, doubt, right))))


def _why_no_source(field: str, wanted: Mapping[str, Any], sources: Mapping[Path, tuple[Any, bool]]) -> str:
    account = [".".join(path) for path in sources if _is_account_date(path, sources[path][0])]
    if wanted.get("format") == "date-time" and account:
        return f"not {', '.join(account[:3])}: dates of an account, not of employment"
    last = words(field).split()[-1]
    near = [".".join(path) for path in sources if last in words(path[-1]).split()]
    return f"perhaps {', '.join(near[:3])}" if near else "no field of that name"


def _ranked(field: str, sources: Mapping[Path, object], *, is_person: bool) -> Iterator[tuple[int, Path]]:
    """Source fields of the same meaning, with a rank: 0 for the same name, _LIKELY and up for a usual one."""
    wrappers = _PERSONAL if is_person else _WRAPPERS
    meant = words(field)
    names: dict[str, int] = {meant: 0}
    meanings = [line.strip().split(", ") for line in _MEANINGS.strip().splitlines()]
    for strong, weak in zip(meanings[::2], meanings[1::2], strict=True):
        if is_person and meant in {*strong, *weak}:
            names |= {name: _LIKELY + number for number, name in enumerate(weak, 1) if name not in names}
            names |= {name: number for number, name in enumerate(strong, 1) if name not in names}
    for path in sources:
        if "work" in meant.split() and "personal" in map(words, path):
            continue
        inner = list(path)
        while len(inner) > 1 and wrappers.fullmatch(words(inner[0])):
            inner.pop(0)
        name = " ".join(map(words, inner))
        if name in names:
            yield names[name], path


def _converted(
    expression: str, path: Path, schema: Mapping[str, Any], wanted: Mapping[str, Any], sample: StreamSample
) -> tuple[str | None, str]:
    """The expression converted for the target, and any doubt about it; None if a person must decide."""
    kinds = types_of(schema)
    nullable = len(path) > 1 or "null" in kinds or not kinds or not sample.always_has(path)
    if allowed := wanted.get("enum"):
        for upper in (False, True):
            known = schema.get("enum")
            within = known and {str(one).upper() if upper else one for one in known if one} <= set(allowed)
            if within or sample.all_within(path, allowed, upper=upper):
                capitals = _unless_empty(f"{expression}.upper()", expression, nullable=nullable)
                return (capitals, "in capitals") if upper else (expression, "")
        return None, f"its values are not all among {', '.join(map(str, allowed))}"
    if wanted.get("format") == "date-time" and {"integer", "number"} & kinds and "string" not in kinds:
        return None, "a number is not a date and time"
    if "string" in types_of(wanted) and "string" not in kinds:
        as_text = unless_null(f"str({expression})", expression, may_be_null=nullable)
        return as_text, "as text, 7.0 is '7.0'" if "number" in kinds else ""
    if wanted.get("format") == "date-time":
        return _as_date_time(
            expression, sample.shapes(path) or {str(schema.get("format"))}, nullable=nullable
        )
    return expression, ""


def _as_date_time(expression: str, shapes: set[str], *, nullable: bool) -> tuple[str | None, str]:
    if shapes == {"date"}:
        midnight = _unless_empty(f"{expression} + 'T00:00:00Z'", expression, nullable=nullable)
        return midnight, "a date becomes midnight UTC"
    if "local time" in shapes:
        return None, "its times have no time zone, or a format other than 2026-01-31T09:00:00Z"
    return expression, "" if shapes == {"date-time"} else "it may not be a date and time"


def _unless_empty(rule: str, expression: str, *, nullable: bool) -> str:
    return f"{rule} if {expression} else None" if nullable else rule


def _read(path: Path, sample: StreamSample, may_be_null: bool) -> str:  # noqa: FBT001 - of the field's objects
    first, *inner = path
    expression = reading(first) if sample.always_has(path[:1]) else f"record.get({first!r})"
    for depth, name in enumerate(inner, 1):
        optional = may_be_null or not sample.always_has(path[:depth])
        held = f"({expression} or {{}})" if optional else expression
        expression = f"{held}.get({name!r})"
    return expression


def _is_account_date(path: Path, schema: Mapping[str, Any]) -> bool:
    name = words(path[-1])
    is_date = schema.get("format") in {"date", "date-time"} or re.search(r"date|time|\bat\b|ed$", name)
    return bool(is_date and _ACCOUNT_EVENTS.search(name))


def _may_fit(schema: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    source_kinds, kinds = types_of(schema) - {"null"}, types_of(wanted) - {"null"}
    if "string" in kinds or "number" in kinds:
        kinds |= {"integer", "number"}
    return not source_kinds or not kinds or bool(source_kinds & kinds)


def stream_map(proposals: list[Proposal], entity: EntitySchema) -> dict[str, Any]:
    """The stream map of a draft. Undecided fields are UNDECIDED in it, which the target rejects."""
    fields: dict[str, Any] = {one.field: one.rule for one in proposals if one.rule is not None}
    return fields | {"__key_properties__": list(entity.key), "__else__": None}


def as_table(
    stream: str, sample: StreamSample, entity: EntitySchema, proposals: list[Proposal]
) -> Iterator[str]:
    """The draft for a terminal."""
    yield f"{stream} → {entity.entity_type}"
    rows = [("field", "", "from", "how sure", "why")]
    rows += [
        (one.field, "required" if one.field in entity.required else "", one.rule or "-", one.level, one.why)
        for one in proposals
    ]
    yield from (f"  {line}" for line in in_columns(rows))
    used = {one.source for one in proposals if one.rule not in {None, UNDECIDED}}
    left = [name for path, _, _ in fields_in(sample.schema) if (name := ".".join(path)) not in used]
    if left:
        yield f"  Not sent: {', '.join(left)}"
