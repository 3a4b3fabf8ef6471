"""Errors of the Singer side: leaves of the tree in `push/errors.py`.

Errors about an input line derive from InputError, and from the SDK's error of the same meaning if there is
one (not InvalidRecord, because the SDK's holds the record). docs/reference/errors.md lists all by code.
Errors about receipts are in `receipts/errors.py`.
"""

from __future__ import annotations

import errno
import logging
import traceback
from pathlib import Path

from singer_sdk import exceptions as sdk

from target_sprinto.push.errors import ConfigError, SprintoError
from target_sprinto.push.protocol.field_paths import FieldProblem
from target_sprinto.push.text import in_json, listed, quoted
from target_sprinto.push.transport.background import NO_THREAD, ResourcesExhausted

log = logging.getLogger(__name__)

_ROOM = 200
"""Maximum characters of a message for problems with settings."""


class SettingsError(ConfigError, sdk.ConfigValidationError):
    """Invalid settings. `errors` lists every problem; none quotes a value."""

    hint = "`target-sprinto --about` lists all settings."

    def __init__(self, *problems: str, hint: str = "") -> None:
        super().__init__(f"Settings: {listed(problems, _ROOM)}.", hint)
        self.errors = list(problems)
        self.schema = None


class InputError(SprintoError, code="input"):
    """Invalid input, found in input line `line`, counted from 1.

    `batch_place` is the position in a batch file, if that line is a BATCH message.
    """

    def __init__(self, message: str, hint: str = "", *, line: int | None = None) -> None:
        super().__init__(message, hint)
        self.line = line
        self.batch_place = ""

    def __str__(self) -> str:
        place = ", ".join(filter(None, (f"Input line {self.line}" if self.line else "", self.batch_place)))
        return f"{place}: {super().__str__()}" if place else super().__str__()


class InvalidLine(InputError, sdk.InvalidInputLine, code="invalid-line"):
    """A line that is not a Singer message."""


class InvalidSchema(InputError, sdk.InvalidJSONSchema, code="invalid-schema"):
    """A SCHEMA message whose schema is not a valid JSON Schema."""


class InvalidRecord(InputError, code="invalid-record"):
    """A record that may not be sent, named by stream and field path, never by value.

    `field` is that path, and `issue` is the problem there; None if unknown.
    """

    def __init__(
        self, message: str, hint: str = "", *, field: str | None = None, issue: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.field = field
        self.issue = issue


class EntityMismatch(InvalidRecord, code="entity-schema"):
    """A mapped record that does not match `entity_schemas`; `problems` lists every mismatch."""

    def __init__(self, message: str, hint: str, problems: list[FieldProblem]) -> None:
        field, issue = problems[0] if len(problems) == 1 else ("", "; ".join(map(str, problems)))
        super().__init__(message, hint, field=field or None, issue=issue)
        self.problems = tuple(problems)


class MissingKeyProperty(InvalidRecord, sdk.MissingKeyPropertiesError, code="missing-key-property"):
    """A record without one of its stream's key properties."""


class RecordBeforeSchema(InputError, sdk.RecordsWithoutSchemaException, code="record-before-schema"):
    """A record of a stream that had no SCHEMA yet."""


class MapFailed(InputError, sdk.MappingError, code="stream-map"):
    """A stream map that does not fit its stream, or that failed on a record."""


class UnmappedStream(InputError, code="unmapped-stream"):
    """A stream that `entity_types` does not name, under `unmapped_streams: fail`, the default."""


class DeletedRecord(InputError, code="deleted-record"):
    """A record that is marked as deleted and would be sent as a live one, under `on_deleted_record: fail`."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"a record of stream {quoted(stream)} is marked as deleted (`_sdc_deleted_at`), and no stream map"
            " reads that mark.",
            f'Map it to an end date: `stream_maps: {{{in_json(stream)}: {{"employmentEndDate":'
            " \"record.get('_sdc_deleted_at')\"}}`; or set `on_deleted_record` to `skip` or `send`.",
        )


class MeltanoTestStream(InputError, code="meltano-test-stream"):
    """The stream of `meltano config test`: its records are invented."""


class BatchNotSupported(InputError, code="batch-not-supported"):
    """A BATCH message whose files have an unsupported format or location."""


class BatchFileUnreadable(InputError, code="batch-file"):
    """A batch file that is missing, cut off or corrupt."""


class MissingFinalState(SprintoError, code="missing-final-state"):
    """The input ended with records that no STATE covers."""


class FinalStateUnfinished(SprintoError, code="final-state-unfinished"):
    """The last STATE says that the tap had not finished."""


class StreamMissing(SprintoError, code="stream-missing"):
    """A stream, its entity type or a field that the settings name but the tap did not send."""


class TapSilent(InputError, code="tap-silent"):
    """The tap sent nothing for `input_timeout_seconds`: it probably hangs."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The tap sent nothing for {seconds:g} s (`input_timeout_seconds`); it probably hangs.",
            "Check the tap's log. If the tap may be silent for that long, raise `input_timeout_seconds`.",
        )


class TooManyRejects(SprintoError, code="too-many-rejects"):
    """More records were rejected than `max_rejects` allows."""


class NothingAccepted(SprintoError, code="nothing-accepted"):
    """Every record of an entity type was rejected."""


class ExpectationNotMet(SprintoError, code="expectation"):
    """`expect`: too many records, far fewer than were applied last, or a field that is not unique."""


class WouldBeRefused(SprintoError, code="would-be-refused"):
    """A dry run in which records were rejected."""


class PreviewDiffers(SprintoError, code="preview-differs"):
    """`sprintoctl map preview --expect`: a run would not send what the saved preview shows."""


class RejectsNotWritten(SprintoError, code="rejects-not-written"):
    """The rejected records cannot be saved, so the run must not continue without them."""


class StateNotWritten(SprintoError, code="state-not-written"):
    """The run was applied, but STATE could not be written to stdout. It follows the message, to be saved."""

    def __init__(self, state: str) -> None:
        super().__init__(
            "The run was applied, but STATE could not be written to stdout.", "Save it yourself:"
        )
        self.state = state

    def __str__(self) -> str:
        return f"{super().__str__()} {self.state}"


class OutputNotWritten(SprintoError, code="output-not-written"):
    """A command's output could not be written."""

    def __init__(self, problem: OSError) -> None:
        super().__init__(
            f"stdout cannot be written to ({problem.strerror or type(problem).__name__}).",
            "Check where the output of the command goes.",
        )


class DemoFailed(SprintoError, code="demo-failed"):
    """The target that `sprintoctl demo` runs failed: its own line, before this one, says why."""


def explained(problem: Exception) -> SprintoError:
    """The error to report for an exception: itself if it is ours."""
    if isinstance(problem, SprintoError):
        return problem
    if isinstance(problem, MemoryError):
        return ResourcesExhausted("Memory ran out.", "Give the process more memory, or send smaller records.")
    if isinstance(problem, RuntimeError) and "start new thread" in str(problem):
        # From another library.
        return ResourcesExhausted(*NO_THREAD)
    if isinstance(problem, OSError) and problem.errno in {errno.EMFILE, errno.ENFILE}:
        return ResourcesExhausted(
            "No more files can be opened.", "Raise the limit of open files (ulimit -n)."
        )
    return InternalError(problem)


class InternalError(SprintoError, code="internal"):
    """A bug. Its type and place are reported, never its text, which may hold a value.

    The stack is logged at DEBUG: file, line and function of each frame.
    """

    def __init__(self, bug: BaseException) -> None:
        frames = [
            f"{Path(frame.f_code.co_filename).name}, line {line}, in {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(bug.__traceback__)
        ]
        place = f" in {frames[-1].rpartition(', ')[0]}" if frames else ""
        super().__init__(
            f"Unexpected {type(bug).__name__}{place}.",
            "This is a bug in target-sprinto: please report it with this line.",
        )
        for frame in frames:
            log.debug("%s: %s", type(bug).__name__, frame)
