"""Compares the streams that the tap sent with those that the settings name. Pure."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from target_sprinto.errors import StreamMissing
from target_sprinto.push.text import quoted
from target_sprinto.similar_names import nearest_first
from target_sprinto.singer.mapping.entity_types import EntityTypes, is_named
from target_sprinto.singer.mapping.map_rules import nodes_of, parsed, rules_of

_SHOWN = 5
_MAX_REPORTED = 1_000
"""Fields that are reported as gone or dropped; more are not reported."""


class Arrivals:
    """Notes each SCHEMA of a run; at the end of input, finds names in the settings that match nothing."""

    def __init__(
        self, entity_types: EntityTypes, stream_maps: Mapping[str, Any], expected: Iterable[str]
    ) -> None:
        self._stream_maps = stream_maps
        self._expected = list(expected)
        self._fields: dict[str, dict[str, None]] = {}
        # By source and field of a rule, whether a stream had the field that the rule removes.
        self._removed: defaultdict[tuple[str, str], bool] = defaultdict(bool)
        self._sent_as: dict[str, str | None] = {}
        self._received: dict[str, Mapping[str, object]] = {
            "stream_maps": self._fields,
            "entity_types": self._sent_as,
        }
        # By setting: the streams that it names, and their entity types; None for one that is left out.
        self._named: dict[str, list[tuple[str, str | None]]] = {
            "stream_maps": list(_mapped(stream_maps, entity_types)),
            "entity_types": list(entity_types.names.items()),
        }
        self._reported: set[tuple[str, str]] = set()

    def add(
        self,
        stream: str,
        fields: Iterable[str],
        sent_as: Mapping[str, str | None],
        dropped: Collection[str] = (),
    ) -> Iterator[str]:
        """Note a stream of the tap. `sent_as` is its entity type, if any, by its name after the stream maps.

        Yields sentences on a later SCHEMA: on new fields that are `dropped`, and on fields that are gone.
        """
        now = dict.fromkeys(fields)
        before, self._fields[stream] = self._fields.get(stream, now), now
        self._sent_as.update(sent_as)
        for rule in rules_of(self._stream_maps, stream):
            for field in rule.removed:
                # A stream whose schema names no fields may have any field.
                self._removed[rule.source, field] |= field in now or not now
        new = [field for field in now if field in dropped and field not in before]
        gone = [field for field in before if field not in now]
        for changed, text in (
            (new, "has new fields that its stream map drops"),
            (gone, "no longer has fields"),
        ):
            named = [field for field in changed if (stream, field) not in self._reported][:_MAX_REPORTED]
            if len(self._reported) > _MAX_REPORTED:
                return
            self._reported.update((stream, field) for field in named)
            if named:
                yield f"Stream {quoted(stream)} {text}: {_list(named)}."

    def require_named(self) -> None:
        """Raise StreamMissing if the tap sent neither a named stream nor any other of its entity type.

        Also for an expected entity type without a stream, and for a removed field that no matching stream
        has. An input without streams is accepted.
        """
        if not self._fields:
            return
        for setting in self._named:
            for name, entity_type in self._absent(setting):
                if entity_type and entity_type not in self._sent_as.values():
                    raise StreamMissing(
                        f"`{setting}` names stream {quoted(name)}; the tap sent neither it nor any other of"
                        f" entity type {quoted(entity_type)}. Streams it sent"
                        f"{nearest_first(name, self._fields)}.",
                        "Correct the name; or remove it, if the tap does not have that stream.",
                    )
        sent = set(filter(None, self._sent_as.values()))
        for name in self._expected:
            if name not in sent:
                raise StreamMissing(
                    f"`expect` names entity type {quoted(name)}, and no stream of this run has"
                    f" it{nearest_first(name, sent)}.",
                    "Correct the name; or remove it, if the tap does not have such a stream.",
                )
        for (name, field), found in self._removed.items():
            if not found:
                matching = [fields for stream, fields in self._fields.items() if is_named(stream, name)]
                raise StreamMissing(
                    f"`stream_maps` removes field {quoted(field)} from {quoted(name)}, and no such stream"
                    f" has it{nearest_first(field, set[str]().union(*matching))}.",
                    "Correct the name, so that no other field is sent unintentionally; or remove the rule.",
                )

    def doubts(self) -> Iterator[str]:
        """Sentences on names that may be misspelled: not sent, although streams that are not named were."""
        for setting, received in self._received.items():
            named = [name for name, _ in self._named[setting]]
            missing = [name for name, _ in self._absent(setting)]
            others = [stream for stream in received if not any(is_named(stream, name) for name in named)]
            if missing and others:
                yield (
                    f"`{setting}` names {_list(missing)}, which the tap did not send, but not"
                    f" {_list(others)}, which it sent. Is a name misspelled?"
                )

    def _absent(self, setting: str) -> list[tuple[str, str | None]]:
        streams = self._received[setting]
        return [
            one for one in self._named[setting] if not any(is_named(stream, one[0]) for stream in streams)
        ]


def _mapped(stream_maps: Mapping[str, Any], entity_types: EntityTypes) -> Iterator[tuple[str, str | None]]:
    """The streams or patterns that `stream_maps` has rules for, each with its entity type."""
    for name, rule in stream_maps.items():
        options = rule if isinstance(rule, dict) else {}
        if name != "__else__":
            sent_as = _named_by(options["__alias__"]) if "__alias__" in options else name
            if sent_as is None or not isinstance(rule, dict):
                yield options.get("__source__", name), None
            else:
                yield options.get("__source__", name), entity_types.named(sent_as) or sent_as


def _named_by(alias: str) -> str | None:
    """The name that an `__alias__` gives to a stream; None if it depends on the stream's own."""
    match parsed(alias):
        case ast.Constant(str(name)):
            return name
    names = {node.id for node in nodes_of(alias) if isinstance(node, ast.Name)}
    # With an unknown name, the SDK's mapper uses the text itself.
    return alias if names - {"__stream_name__"} else None


def _list(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(map(quoted, known[:_SHOWN])) + more
