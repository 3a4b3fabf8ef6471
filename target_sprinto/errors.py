"""What goes wrong on the Singer side: leaves of the tree in `push/errors.py`.

SprintoError
├── SettingsError                  bad settings                     (also the SDK's ConfigValidationError)
├── InputError                     bad input; names the input line
│   ├── InvalidLine                a line that is not a message     (also the SDK's InvalidInputLine)
│   ├── InvalidSchema              an invalid JSON Schema           (also the SDK's InvalidJSONSchema)
│   ├── InvalidRecord              a record that may not be sent    (not the SDK's: that one holds the record)
│   │   └── EntityMismatch         a mapped record that `entity_schemas` does not allow
│   ├── MissingKeyProperty         a record without its key         (also the SDK's MissingKeyPropertiesError)
│   ├── RecordBeforeSchema         a record before its schema       (also its RecordsWithoutSchemaException)
│   ├── MapFailed                  a stream map that cannot be used (also the SDK's MappingError)
│   ├── UnmappedStream             `unmapped_streams: fail`
│   ├── DeletedRecord              a record marked as deleted, whose stream map does not read the mark
│   ├── MeltanoTestStream               the records that `meltano config test` makes up
│   ├── BatchNotSupported          a BATCH message with files of a kind that is not read
│   ├── BatchFileUnreadable        a batch file that is missing, cut off or corrupt
│   ├── FinalStateMissing          records that no STATE covers: the tap probably crashed
│   ├── FinalStateUnfinished       a last STATE that says so: the tap was stopped
│   └── TapSilent                  nothing came on stdin for `input_timeout_seconds`
├── StreamMissing                  a stream that the settings name did not come
├── TooManyRejects                 more records were rejected than `max_rejects` allows
├── NothingAccepted                no record of an entity type was accepted: a wrong mapping
├── ExpectationNotMet              a run that is not as `expect` says
├── WouldBeRefused                 a dry run in which records were rejected
├── PreviewDiffers                 a preview that is not the one that was kept
├── RejectsNotWritten              `rejects_dir` cannot be written to
├── StateNotWritten                stdout broke when the STATE was due
├── OutputNotWritten               stdout broke when something else was due
├── DemoFailed                     the target that `sprintoctl demo` runs failed
├── ResourcesExhausted             no more memory, threads or open files
└── InternalError                  a bug of ours

Errors about receipts are in `receipts/errors.py`.
"""

from __future__ import annotations

import errno
import json
import logging
import traceback
from pathlib import Path
from typing import NamedTuple

from singer_sdk import exceptions as sdk

from target_sprinto.push.errors import ConfigError, SprintoError
from target_sprinto.push.text import quoted

log = logging.getLogger(__name__)


class SettingsError(ConfigError, sdk.ConfigValidationError):
    """Settings that cannot be used. `errors` lists every problem; none quotes a value."""

    def __init__(self, *problems: str) -> None:
        super().__init__(f"Settings: {'; '.join(problems)}.", "`target-sprinto --about` lists all settings.")
        self.errors = list(problems)
        self.schema = None


class InputError(SprintoError):
    """Invalid input, found in input line `line`, counted from 1.

    `batch_place` says where in a batch file, if that line is a BATCH message.
    """

    code = "input"
    is_of_a_line = True

    def __init__(self, message: str, hint: str = "", *, line: int | None = None) -> None:
        super().__init__(message, hint)
        self.line = line
        self.batch_place = ""

    def __str__(self) -> str:
        place = ", ".join(filter(None, (f"Input line {self.line}" if self.line else "", self.batch_place)))
        return f"{place}: {super().__str__()}" if place else super().__str__()


class InvalidLine(InputError, sdk.InvalidInputLine):
    """A line that is not a Singer message."""

    code = "invalid-line"


class InvalidSchema(InputError, sdk.InvalidJSONSchema):
    """A SCHEMA message whose schema is not a valid JSON Schema."""

    code = "invalid-schema"


class InvalidRecord(InputError):
    """A record that may not be sent, named by stream and field path, never by value.

    `field` is that path, and `issue` what is wrong there, where they are known.
    """

    code = "invalid-record"

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        line: int | None = None,
        field: str | None = None,
        issue: str | None = None,
    ) -> None:
        super().__init__(message, hint, line=line)
        self.field = field
        self.issue = issue


class FieldProblem(NamedTuple):
    """What is wrong with one field of a record; `field` is its path, "" for the record itself."""

    field: str
    issue: str

    def __str__(self) -> str:
        return f"field {quoted(self.field)} {self.issue}" if self.field else self.issue


class EntityMismatch(InvalidRecord):
    """A mapped record that does not fit its entity type in `entity_schemas`; `problems` are all of them."""

    code = "entity-schema"

    def __init__(self, message: str, hint: str, problems: list[FieldProblem]) -> None:
        field, issue = problems[0] if len(problems) == 1 else ("", "; ".join(map(str, problems)))
        super().__init__(message, hint, field=field or None, issue=issue)
        self.problems = tuple(problems)


class MissingKeyProperty(InputError, sdk.MissingKeyPropertiesError):
    """A record without one of its stream's key properties."""

    code = "missing-key-property"


class RecordBeforeSchema(InputError, sdk.RecordsWithoutSchemaException):
    """A record of a stream that had no SCHEMA yet."""

    code = "record-before-schema"


class MapFailed(InputError, sdk.MappingError):
    """A stream map that does not fit its stream, or that failed on a record."""

    code = "stream-map"


class UnmappedStream(InputError):
    """A stream that `entity_types` does not name, under `unmapped_streams: fail`, the default."""

    code = "unmapped-stream"


class DeletedRecord(InputError):
    """A record that is marked as deleted and would be sent as a live one, under `on_deleted_record: fail`."""

    code = "deleted-record"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"a record of stream {quoted(stream)} is marked as deleted (`_sdc_deleted_at`), and no stream map"
            " reads that mark.",
            f'Map it to an end date: `stream_maps: {{{json.dumps(stream)}: {{"employmentEndDate":'
            " \"record.get('_sdc_deleted_at')\"}}`; or set `on_deleted_record` to `skip` or `send`.",
        )


class MeltanoTestStream(InputError):
    """The stream of `meltano config test`: its records are invented."""

    code = "meltano-test-stream"


class BatchNotSupported(InputError):
    """A BATCH message whose files are of a kind, or in a place, that is not read."""

    code = "batch-not-supported"


class BatchFileUnreadable(InputError):
    """A batch file that is missing, cut off or corrupt."""

    code = "batch-file"


class FinalStateMissing(InputError):
    """The input ended with records that no STATE covers."""

    code = "final-state-missing"
    is_of_a_line = False


class FinalStateUnfinished(InputError):
    """The last STATE says that the tap had not finished."""

    code = "final-state-unfinished"
    is_of_a_line = False


class StreamMissing(SprintoError):
    """A stream, or a field of some streams, that the settings name and that did not come."""

    code = "stream-missing"


class TapSilent(InputError):
    """Nothing came on stdin for `input_timeout_seconds`: the tap probably hangs."""

    code = "tap-silent"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The tap sent nothing for {seconds:g} s (`input_timeout_seconds`); it probably hangs.",
            "Look at the tap's log. If the tap may be silent for so long, raise `input_timeout_seconds`.",
        )


class TooManyRejects(SprintoError):
    """More records were rejected than `max_rejects` allows."""

    code = "too-many-rejects"


class NothingAccepted(SprintoError):
    """Every record of an entity type was rejected."""

    code = "nothing-accepted"


class ExpectationNotMet(SprintoError):
    """`expect`: too many records, far fewer than were applied last, or a value that is not unique."""

    code = "expectation"


class WouldBeRefused(SprintoError):
    """A dry run in which records were rejected."""

    code = "would-be-refused"


class PreviewDiffers(SprintoError):
    """`sprintoctl map preview --expect`: what a run would send is not what was kept."""

    code = "preview-differs"


class RejectsNotWritten(SprintoError):
    """The rejected records cannot be kept, so they must not be left out."""

    code = "rejects-not-written"


class StateNotWritten(SprintoError):
    """All is applied, but STATE could not be written to stdout: it follows the message, to be saved."""

    code = "state-not-written"

    def __init__(self, state: str) -> None:
        super().__init__(
            "The run was applied, but STATE could not be written to stdout.", "Save it yourself:"
        )
        self.state = state

    def __str__(self) -> str:
        return f"{super().__str__()} {self.state}"


class OutputNotWritten(SprintoError):
    """What a command prints could not be written."""

    code = "output-not-written"

    def __init__(self, problem: OSError) -> None:
        super().__init__(
            f"stdout cannot be written to ({problem.strerror or type(problem).__name__}).",
            "Check where the output of the command goes.",
        )


class DemoFailed(SprintoError):
    """The target that `sprintoctl demo` runs failed: its own line, before this one, says why."""

    code = "demo-failed"


class ResourcesExhausted(SprintoError):
    """The machine gives this process no more memory, threads or files."""

    code = "resources-exhausted"


def explained(problem: Exception) -> SprintoError:
    """What to raise instead of an exception that is not ours."""
    if isinstance(problem, MemoryError):
        return ResourcesExhausted("Memory ran out.", "Give the process more of it, or send smaller records.")
    if isinstance(problem, RuntimeError) and "start new thread" in str(problem):
        return ResourcesExhausted(
            "No thread could be started.", "Raise the limit of threads or processes (ulimit -u, pids.max)."
        )
    if isinstance(problem, OSError) and problem.errno in {errno.EMFILE, errno.ENFILE}:
        return ResourcesExhausted("No more files can be opened.", "Raise the limit for them (ulimit -n).")
    return InternalError(problem)


class InternalError(SprintoError):
    """A bug. Its type and place are reported, never its text, which may hold a value.

    The stack is logged at DEBUG: file, line and function of each frame.
    """

    code = "internal"

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
