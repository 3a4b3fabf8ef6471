"""A request that the sandbox refuses."""

from __future__ import annotations

from http.client import responses
from typing import Any


class Refused(Exception):
    """Carries an error response: its HTTP `status`, `headers` and JSON `body` (Sprinto: Models, Error).

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
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.status = status
        self.body: dict[str, Any] = {
            "error": {
                "code": code or responses.get(status, f"http {status}").lower().replace(" ", "_"),
                "message": message,
                "details": details or [],
            }
        }
        if validation_errors is not None:
            self.body["validation_errors"] = validation_errors
