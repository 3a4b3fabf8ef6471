"""Responses of every kind instead of Sprinto's, each repeating the API key and record values.

They are invalid but not lies: a client cannot detect a server that returns well-formed, documented
falsehoods. So no response here has another documented state or, for a create, another session; and
a create or close that was acted on never gets a rejection. Nor does a page, if another page may be in
doubt: the counts would show that one as arrived.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from hypothesis import strategies as st

from target_sprinto.sandbox import Readings
from tests.support.front_door import API_KEY, SECRET
from tests.support.fuzz.running import RECEIPT, SECRET_NUMBER
from tests.support.sandbox import CutOff, Drop, Edit, Fault, Hang, Raw, Reset, Respond

if TYPE_CHECKING:
    from target_sprinto.sandbox.operations import Operation
    from tests.support.sandbox import Effect

    Moment = tuple[Operation, int]

ECHO = f"{API_KEY} {SECRET} {SECRET_NUMBER}"
REFUSALS = {400, 401, 403, 404, 407, 409, 413, 415, 425, 429, 503}

COURSES: list[tuple[Moment, list[Moment]]] = [
    (
        ("create", 1),
        [("create", 2), ("activity", 1), ("activity", 1), ("status", 1), ("status", 2), ("close", 1)],
    ),
    (("push", 1), [("push", 1), ("push", 2), ("push", 3), ("status", 1), ("status", 2), ("close", 1)]),
    (("push", 2), [("push", 3), ("push", 4), ("status", 1), ("status", 2), ("status", 3), ("close", 1)]),
    (("status", 1), [("status", 2), ("close", 1)]),
    (("integration_status", 1), [("integration_status", 2), ("status", 2), ("close", 1)]),
    (("close", 1), [("close", 2), ("status", 2), ("status", 3), ("activity", 1)]),
    (("status", 2), [("status", 3), ("status", 4), ("integration_status", 1)]),
]
"""The operation that goes wrong first, and the calls that may follow."""

STATUSES = st.sampled_from(
    [
        200,
        201,
        202,
        *sorted(REFUSALS),
        204,
        206,
        301,
        302,
        304,
        307,
        402,
        405,
        408,
        418,
        451,
        500,
        502,
        504,
        599,
    ]
) | st.integers(200, 599)

RETRY_AFTER = st.sampled_from(
    [
        "0",
        "1",
        "0.3",
        "-1",
        "100000",
        "1e3",
        "nan",
        "inf",
        "",
        " ",
        "1, 2",
        "0x10",
        "٣",
        "9" * 400,
        ".5",
        "1.",
        "soon",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        f"Wed, 21 Oct {'9' * 30} 07:28:00 GMT",
        f"Wed, 21 Oct 2015 07:28:00 +{'9' * 30}",
        "Wed, 21 Oct 2015 99:99:99 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "2015-10-21T07:28:00Z",
        ECHO,
    ]
) | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)
PLAIN_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": st.sampled_from(["0", "1", "0.3", "-1", "nan", "", "100000", "soon", ECHO]),
        "Location": st.sampled_from([f"http://127.0.0.1:9/?key={ECHO}", "//[", "", "javascript:"]),
        "Content-Type": st.sampled_from(["text/html; charset=wat", "application/json", "", "image/png"]),
        "X-Echo": st.just(ECHO),
        "Set-Cookie": st.sampled_from([f"session={ECHO}", "=", "a=b; expires=never; domain=.com"]),
        "WWW-Authenticate": st.just(f"Basic realm={ECHO}"),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "zstd", "identity", "x", "gzip, gzip"]),
    },
)
"""Headers that an HTTP server would send."""

ODD_HEADERS = st.sampled_from(
    [
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Content-Length: 100000000",
        b"Content-Length: -1",
        b"Content-Length: 1, 2",
        b"Content-Length: " + b"9" * 5_000,
        b"Content-Length: abc",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: wat",
        b"Connection: close",
        b"Connection: keep-alive, upgrade",
        b"Upgrade: h2c",
        b"no colon " + ECHO.encode(),
        b": no name " + ECHO.encode(),
        b" folded " + ECHO.encode(),
        b"X-Bytes: \xff\xfe\x00" + ECHO.encode(),
        b"X-Long: " + b"a" * 70_000,
        b"Content-Encoding: " + b"gzip, " * 20 + b"gzip",
        b"Content-Type: application/json; charset=" + ECHO.encode(),
        b"Content-Type: multipart/mixed; boundary=",
        b"Set-Cookie: " + b"a" * 4_000,
        b"\r",
        b"HTTP/1.1 200 OK",
        *[b"\r\n".join(b"X-%d: x" % number for number in range(count)) for count in (90, 150)],
    ]
)


def chunked(body: bytes, *, size: bytes = b"%x", end: bytes = b"0\r\n\r\n") -> bytes:
    length = size % len(body) if b"%" in size else size
    return length + b"\r\n" + body + b"\r\n" + end


_ODD_LEAVES = st.sampled_from([None, True, False, 0, 1, -1, 5, 1.5, "", "x", ECHO, SECRET_NUMBER, 10**15])
_FIELDS = [
    "id",
    "state",
    "session_id",
    "error",
    "details",
    "message",
    "code",
    "validation_errors",
    "items",
    "next_page",
    "sessions",
    "processing",
    "accepted_records_by_entity",
    "accepted_count_total",
    "rejected_count_total",
    ECHO,
]
ANY_JSON = st.recursive(
    _ODD_LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
    max_leaves=8,
)
NAMED_FAULTS = st.fixed_dictionaries(
    {
        "issue": ANY_JSON
        | st.sampled_from([f"{ECHO} is no name", f"'{SECRET}'≠“{SECRET_NUMBER}.0”", f"key={API_KEY}"])
    },
    optional={
        "entity_type": st.sampled_from(["people", "teams", ECHO]) | _ODD_LEAVES,
        "index": st.integers(-3, 12) | _ODD_LEAVES,
        "field": st.sampled_from(["name", "amount", "name.x", f"name.{ECHO}", f"/{ECHO}"]) | _ODD_LEAVES,
        "value": st.just(ECHO),
    },
)
_NAMED_WELL = st.fixed_dictionaries(
    {
        "entity_type": st.sampled_from(["people", "people", "teams"]),
        "index": st.integers(0, 2),
        "field": st.sampled_from(["name", ECHO]),
        "issue": st.just(ECHO),
    }
)
_NAMED = st.lists(_NAMED_WELL, min_size=1, max_size=2) | st.lists(NAMED_FAULTS, min_size=1, max_size=7)
_ERROR = st.fixed_dictionaries({"code": st.just(ECHO), "message": st.just(ECHO), "details": _NAMED})
REFUSAL_BODIES = st.one_of(
    st.fixed_dictionaries({"error": _ERROR}),
    st.fixed_dictionaries({"validation_errors": _NAMED}),
    st.fixed_dictionaries({}, optional={"error": ANY_JSON, "validation_errors": ANY_JSON}),
)
_HTML = f"<html><body>You sent api-key: {ECHO}</body></html>".encode()


def _encoded(value: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps(value, ensure_ascii=False).encode()


BODIES: st.SearchStrategy[bytes] = st.one_of(
    REFUSAL_BODIES.map(_encoded),
    ANY_JSON.map(_encoded),
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"",
            _HTML,
            _HTML[:20],
            ECHO.encode(),
            ECHO.encode("utf-16"),
            b'{"id": "' + ECHO.encode(),
            b"[" * 100_000,
            b'{"items": [' + b"[" * 900 + b"]" * 900 + b"]}",
            b'{"error": NaN}',
            b'{"items": [{}], "next_page": 1e400}',
            b'{"items": [], "next_page": 2}',
            b'{"items": [{"session_id": "x", "at": "9999-12-31T23:59:59.9+00:00"}], "next_page": -1}',
            b'{"items": [{"session_id": 5, "at": "0001-01-01T00:00:00+23:59", "type": "session_created"}]}',
            b'{"integration_id": "x", "sessions": {"processing": 1e400}}',
            gzip.compress(_HTML),
            gzip.compress(_HTML)[:30],
            gzip.compress(b"0" * 17_000_000, 1),
            zlib.compress(_HTML),
            chunked(_HTML),
            chunked(_HTML, size=b"zz"),
            chunked(_HTML, size=b"ffffffffffffffff"),
            chunked(_HTML, size=b"-5"),
            chunked(_HTML, end=b"0\r\n" + b"X: x\r\n" * 200),
            chunked(_HTML, end=b""),
        ]
    ),
)

NO_HTTP = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"",
            b"\r\n",
            ECHO.encode() + b"\r\n\r\n",
            b"220 mail.example ESMTP " + ECHO.encode() + b"\r\n",
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"HTTP/1.1",
            b"HTTP/1.1 \r\n\r\n",
            b"HTTP/1.1 abc " + ECHO.encode() + b"\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 1000 OK\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n{}",
            b"ICY 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nX-Cut: " + ECHO.encode(),
            b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 20_000,
            b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 30,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + ECHO.encode(),
            b"HTTP/1.1 103 Early Hints\r\nLink: " + ECHO.encode() + b"\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n",
        ]
    ),
)


@st.composite
def raw_responses(draw: st.DrawFn) -> tuple[int, bytes]:
    """Bytes that begin like HTTP, and their status."""
    status = draw(STATUSES)
    body = draw(BODIES)
    reason = draw(st.sampled_from([b"OK", b"", ECHO.encode(), b"\xff\xfe"]))
    lines = [f"{name}: {value}".encode() for name, value in draw(PLAIN_HEADERS).items()]
    lines += draw(st.lists(ODD_HEADERS, max_size=2))
    if draw(st.booleans()):
        lines.append(b"Retry-After: " + draw(RETRY_AFTER).encode("utf-8"))
    if draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(body))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]))
    head = [version + b" %d " % status + reason, *draw(st.permutations(lines))]
    return status, b"\r\n".join(head) + b"\r\n\r\n" + body


# Documented responses with one thing changed

_GONE = "(gone)"
_BIG = [
    msgspec.Raw(text)
    for text in (b"1e400", b"1" + b"0" * 400, b"-99999999999999999999", b"9223372036854775808", b"0.5", b"-1")
]
_COUNTS = [
    {},
    {"people": -1},
    {"people": 10**12},
    {"people": "1"},
    {"people": 1.5},
    {ECHO: 1},
    {"": 0},
    {"people": None},
]
_TIMES = [
    "never",
    "2026-11-21",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
    f"2026\n{ECHO} | ERROR | a | b",
    "2026-11-21T25:00:00Z",
]
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["", ECHO, "a\nb", "x" * 5_000]),
    "session_id": st.sampled_from(["", ECHO, "another", "a\nb"]),
    "state": st.sampled_from(["", "paused", ECHO, "ACTIVE", "active ", "a\nb"]),
    "accepted_records_by_entity": st.sampled_from(_COUNTS),
    "sessions": st.sampled_from(
        [{}, {"processing": -1}, {"processing": 10**12}, {"processing": "0"}, {"processing": 1}]
    ),
    "expires_at": st.sampled_from(_TIMES),
    "updated_at": st.sampled_from(_TIMES),
    "inactivity_timeout_seconds": st.sampled_from([0, -5, 0.000001, "60"]),
    "retry_count": st.sampled_from([-1, 5, "1"]),
    "accepted_count_total": st.sampled_from([-1, 0, 10**12]),
    "rejected_count_total": st.sampled_from([-1, 1, 10**12]),
    "validation_errors": st.lists(NAMED_FAULTS, min_size=1, max_size=3),
    "accepted_batches": st.sampled_from([-1, 10**12]),
    "items": st.lists(ANY_JSON, max_size=2),
    "next_page": st.sampled_from([1, 2, 0, -1, 10**12, "2"]),
    "last_error": st.just(ECHO),
    "integration_id": st.sampled_from(["", ECHO]),
    "something new": st.just({ECHO: [ECHO]}),
}
ANOTHER_TYPE = st.sampled_from([_GONE, None, True, [], {}, [ECHO], {ECHO: ECHO}, 5, *_BIG])


@dataclass(frozen=True)
class Changed:
    """One field set to another value or removed, even if the response did not have it."""

    name: str
    value: Any

    def __call__(self, response: dict[str, Any]) -> dict[str, Any]:
        others = {name: value for name, value in response.items() if name != self.name}
        return others if self.value == _GONE else others | {self.name: self.value}


_SESSION_FIELDS = [
    "id",
    "state",
    "state",
    "accepted_records_by_entity",
    "accepted_records_by_entity",
    "expires_at",
    "updated_at",
    "inactivity_timeout_seconds",
    "retry_count",
    "accepted_batches",
    "last_error",
    "something new",
]
_PUSH_FIELDS = [
    "session_id",
    "accepted_count_total",
    "rejected_count_total",
    "validation_errors",
    "something new",
]
FIELDS: dict[Operation, list[str]] = {
    "create": _SESSION_FIELDS,
    "status": _SESSION_FIELDS,
    "push": _PUSH_FIELDS,
    "close": _SESSION_FIELDS,
    "integration_status": ["sessions", "integration_id", "something new"],
    "activity": ["items", "next_page"],
}


@st.composite
def edits(draw: st.DrawFn, operation: Operation) -> Edit:
    name = draw(st.sampled_from(FIELDS[operation]))
    return Edit(Changed(name, draw(CHANGES[name] | ANOTHER_TYPE)))


# Faults

_LOST: st.SearchStrategy[Effect] = st.sampled_from([Reset(), Reset(), Drop(), Drop(), Hang()])
_TIMES_STRUCK = st.sampled_from([1, 1, 1, 1, 2, 9999])


def is_refusal(status: int) -> bool:
    """Whether a status means that the call was not performed: a 4xx does (RFC 9110), except 408.

    A redirect proves nothing, but is treated the same.
    """
    return status == 503 or (300 <= status < 500 and status != 408)


HOW = ["raw", "raw", "response", "response", "edit", "edit", "edit", "lost", "no HTTP", "cut off", "refused"]
HOW_A_PAGE = [*HOW, *["refused"] * 6]


@st.composite
def faults(draw: st.DrawFn, struck: Moment, never_refused_after: set[Operation]) -> Fault:
    operation, nth = struck
    moment: Literal["before", "after"] = draw(st.sampled_from(["before", "after", "after"]))
    how = draw(st.sampled_from(HOW_A_PAGE if operation == "push" else HOW))
    effect: Effect
    status = 0
    if how == "raw":
        status, data = draw(raw_responses())
        effect = Raw(data, draw(st.sampled_from(["end"] * 9 + ["silence"])))
    elif how == "response":
        status = draw(STATUSES)
        effect = Respond(status, draw(PLAIN_HEADERS), draw(BODIES))
    elif how == "refused":
        status = draw(st.sampled_from([400, 400, 409, 413]))
        effect = Respond(status, body=_encoded(draw(REFUSAL_BODIES)))
    elif how == "edit":
        effect = draw(edits(operation))
    elif how == "lost":
        effect = draw(_LOST)
    elif how == "no HTTP":
        effect = Raw(draw(NO_HTTP))
    else:
        effect = CutOff(draw(st.integers(0, 200)))
    if operation in never_refused_after and is_refusal(status):
        moment = "before"
    return Fault(operation, nth=nth, times=draw(_TIMES_STRUCK), moment=moment, effect=effect)


@st.composite
def courses(draw: st.DrawFn) -> tuple[Fault, ...]:
    first, more = draw(st.sampled_from(COURSES))
    struck = [first, *draw(st.lists(st.sampled_from(more), max_size=3))]
    never_refused_after: set[Operation] = {"create", "close"}
    if sum(operation == "push" for operation, _ in struck) > 1:
        never_refused_after.add("push")
    return tuple(draw(faults(one, never_refused_after)) for one in struck)


@dataclass(frozen=True)
class Case:
    """One run: the number of records, the settings, and the responses."""

    records: int
    settings: dict[str, Any]
    readings: Readings
    faults: tuple[Fault, ...]


ENDS = st.sampled_from([{}, {}, {}, {"dry_run": True}, {"finish": "hold", "report_path": RECEIPT}])
"""The session's final state if nothing goes wrong."""

SETTINGS = st.builds(
    dict[str, Any].__or__,
    st.fixed_dictionaries(
        {},
        optional={
            "page_size": st.sampled_from([1, 3]),
            "compress": st.booleans(),
            "max_parallel_pages": st.sampled_from([2, 4]),
            "on_invalid_record": st.just("divert"),
            "report_path": st.just(RECEIPT),
            "on_active_session": st.sampled_from(["fail", "wait", "discard"]),
        },
    ),
    ENDS,
)
CASES = st.builds(
    Case,
    records=st.integers(1, 7),
    settings=SETTINGS,
    readings=st.builds(
        Readings,
        apply=st.just("append"),
        log_shows_reference=st.booleans(),
        close_response_state=st.sampled_from(["active", "processing"]),
        ingest_total=st.sampled_from(["page", "session"]),
        activity_order=st.sampled_from(["oldest_first", "newest_first"]),
    ),
    faults=courses(),
)
