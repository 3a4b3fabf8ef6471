"""A response of the sandbox, and the exception for a rejected request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any


@dataclass(frozen=True)
class Reply:
    """A response: its HTTP status, its JSON, and additional headers."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Carries an error response, `reply` (Sprinto: Models, Error).

    Sprinto's documentation names the field `code`, not its values: without one it is the status in words.
    """

    def __init__(  # noqa: PLR0913 - the parts of a response, each with its default
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        details: list[dict[str, Any]] | None = None,
        validation_errors: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        code = code or responses.get(status, f"http {status}").lower().replace(" ", "_")
        body: dict[str, Any] = {"error": {"code": code, "message": message, "details": details or []}}
        if validation_errors is not None:
            body["validation_errors"] = validation_errors
        self.reply = Reply(status, body, {"Retry-After": str(retry_after)} if retry_after is not None else {})
