"""A request that the sandbox refuses."""

from __future__ import annotations

from typing import Any

CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}
"""Error code by HTTP status. The codes are ours: Sprinto's documents name the field, not its values."""


class Refused(Exception):
    """Carries an error answer: its HTTP `status`, `headers` and JSON `body` (Sprinto: Models, Error)."""

    def __init__(  # noqa: PLR0913 - the parts of an answer, each with its default
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
                "code": code or CODES.get(status, f"http_{status}"),
                "message": message,
                "details": details or [],
            }
        }
        if validation_errors is not None:
            self.body["validation_errors"] = validation_errors
