"""Every failure of a route as the same JSON object: `{"error", "detail", "field", "errors"}`. See `domain/errors.py`.

What the program raises on purpose keeps its name, sentence and status; pydantic's findings become `InvalidRequest`; all
else is a 500 whose text is in the log alone (the guard writes it there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from sdwebui.api.strict_bodies import UNKNOWN_FIELD
from sdwebui.domain.errors import InvalidRequest, SdWebuiError, shortened

MAX_FINDINGS = 20
_HTTP_NAMES: Mapping[int, str] = {
    401: "NotLoggedIn",
    403: "NotAllowed",
    404: "NotFound",
    429: "TooManyAttempts",
    503: "Overloaded",
}
_HTTP_SENTENCES: Mapping[int, str] = {
    400: "The request body could not be read: it must be valid JSON in UTF-8, not nested too deeply.",
    404: "Not Found: there is nothing at {path}. The addresses that exist are listed at /docs.",
    405: "{path} does not take the method {method}. The header Allow and /docs say which it takes.",
}
"""Clients of A1111's API look for the words "Not Found" in the answer of a route that is not there."""
_EXCERPT_CHARACTERS = 60


def error_answer(error: SdWebuiError, errors: Sequence[Mapping[str, str]] = ()) -> JSONResponse:
    """The HTTP answer of an error.

    Args:
        error: what went wrong.
        errors: single findings, `{"field", "detail"}` each, when there are several.
    """
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
    facts = {**error.to_json(), "errors": list(errors)}
    return JSONResponse(_clean(facts), status_code=error.http_status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every failure in this shape."""
    app.add_exception_handler(SdWebuiError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unforeseen)


def from_validation(
    findings: Sequence[Mapping[str, Any]], body: object = None
) -> tuple[InvalidRequest, list[dict[str, str]]]:
    """The findings of pydantic as one error for the first and a list of all.

    Args:
        findings: `ValidationError.errors()`: each with "loc", "msg", "input", "type".
        body: the text of a body that is no JSON, to show the place at fault.
    """
    all_errors = [_as_error(finding, body) for finding in findings[:MAX_FINDINGS]]
    return all_errors[0], [{"field": error.field, "detail": error.detail} for error in all_errors]


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SdWebuiError):
        raise error
    return error_answer(error)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    if isinstance(error.body, bytes):  # the framework reads JSON only from a body that is announced as such
        return error_answer(*_other_content_type(request.headers.get("content-type", "")))
    return error_answer(*from_validation(error.errors(), error.body))


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    """Refusals of the framework: no such route, no such method, a body that is no JSON."""
    if not isinstance(error, HTTPException):
        raise error
    sentence = _HTTP_SENTENCES.get(error.status_code, "The request could not be answered: {detail}.")
    facts = {
        "error": _HTTP_NAMES.get(error.status_code, "InvalidRequest" if error.status_code < 500 else "SdWebuiError"),
        "detail": sentence.format(
            path=shortened(request.url.path), method=request.method, detail=str(error.detail).rstrip(".")
        ),
        "field": "",
        "errors": [],
    }
    return JSONResponse(_clean(facts), status_code=error.status_code, headers=error.headers)


async def _on_unforeseen(_: Request, __: Exception) -> JSONResponse:
    """The framework raises the exception again after this answer, and the guard logs it."""
    detail = "The server failed at this request. The log of the server says why; nothing was lost."
    return error_answer(SdWebuiError(detail))


def _other_content_type(given: str) -> tuple[InvalidRequest, list[dict[str, str]]]:
    hint = "Send the same body with the header Content-Type: application/json."
    error = InvalidRequest("Content-Type", given, "must be application/json", hint)
    return error, [{"field": error.field, "detail": error.detail}]


def _as_error(finding: Mapping[str, Any], body: object) -> InvalidRequest:
    field = ".".join(str(part) for part in finding["loc"] if part not in ("body", "query", "path")) or "body"
    if finding["type"] == "json_invalid":
        return _no_json(finding, body if isinstance(body, str) else "")
    if finding["type"] == UNKNOWN_FIELD:
        nearest = finding["ctx"]["nearest"]
        hint = f"Did you mean {nearest!r}?" if nearest else "Leave it out; /docs lists the fields."
        return InvalidRequest(field, finding.get("input"), "is no field of this request", hint)
    if finding["type"] == "missing" and field == "body":
        return InvalidRequest("body", "", "must be a JSON object", "Send it with Content-Type: application/json.")
    if finding["type"] == "missing":
        return InvalidRequest(field, None, "must be given")
    return InvalidRequest(field, finding.get("input"), _rule(str(finding["msg"])))


def _no_json(finding: Mapping[str, Any], text: str) -> InvalidRequest:
    """Where the text stops being JSON, and what the parser expected there."""
    place = next((part for part in finding["loc"] if isinstance(part, int)), 0)
    line, start = text.count("\n", 0, place) + 1, text.rfind("\n", 0, place) + 1
    excerpt = text[max(start, place - _EXCERPT_CHARACTERS // 2) :].partition("\n")[0][:_EXCERPT_CHARACTERS]
    reason = str(finding.get("ctx", {}).get("error", "")).rstrip(".")
    hint = f"Line {line}, column {place - start + 1}: {reason[:1].lower()}{reason[1:]}."
    return InvalidRequest("body", excerpt, "must be valid JSON", hint)


def _rule(message: str) -> str:
    """The end of our sentence, "must be a valid integer", from pydantic's "Input should be a valid integer"."""
    text = message.removeprefix("Value error, ").rstrip(".")
    for start in ("Input should", "String should", "Value should", "Dictionary should", "List should"):
        if text.startswith(start):
            return "must" + text.removeprefix(start)
    return "must be right: " + text[:1].lower() + text[1:]


def _clean(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Text that a caller sent may hold lone surrogates, which no JSON answer can carry."""
    return {key: _clean_value(value) for key, value in facts.items()}


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return _clean(value)
    if isinstance(value, list):
        return [_clean_value(one) for one in value]
    return value
