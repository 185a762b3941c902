"""The whole error tree, with the HTTP status that each class becomes. To add one: add a class and its row here.

```
SdWebuiError                          500
├── ConfigurationError                500   the process exits with code 78
├── InvalidRequest                    422   a field breaks a rule
├── NotFound                          404   a name or an id that does not exist
├── NotLoggedIn                       401
├── NotAllowed                        403
├── TooManyAttempts                   429   with Retry-After
├── Overloaded                        503   with Retry-After: queue full, worker starting, disk low
├── StorageFull                       507
├── ModelUnusable                     409   a model file that is damaged, of a wrong family, or still being copied
├── JobCancelled                      409
├── OutOfMemory                       500   the device ran out of memory; says size, model and what would fit
├── NonFiniteResult                   500   NaN or infinity survived the precision fallback
├── WorkerDied                        500   the process that owned the device ended under the job
├── ProtocolError                     500   a frame between two processes is malformed
└── ExtensionError                    500   names the extension and the hook
```

A message names the thing, the value, the rule and the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar


class SdWebuiError(Exception):
    """Base of every error that this program raises on purpose.

    Attributes:
        name: the stable name that API clients see in the `error` field.
        http_status: the status code of the HTTP answer.
        detail: one sentence for people.
        field: the request field at fault, or the empty string.
        retry_after_s: seconds for the `Retry-After` header, 0 for none.
    """

    http_status: ClassVar[int] = 500
    retry_after_s: int = 0

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field

    @property
    def name(self) -> str:
        """The class name: stable, and what the `error` field of an answer says."""
        return type(self).__name__

    def to_json(self) -> dict[str, object]:
        """The JSON object of an HTTP answer, a job row, or a worker's message."""
        return {"error": self.name, "detail": self.detail, "field": self.field}


class ConfigurationError(SdWebuiError):
    """A setting, file or folder that the server cannot start with."""


class InvalidRequest(SdWebuiError):
    """A field of a request breaks a rule.

    Args:
        field: the field's name as the user knows it ("width").
        value: what was given; shortened in the message.
        rule: what it must be ("must be a multiple of 8").
        hint: the next step, a sentence, may be empty.
    """

    http_status = 422

    def __init__(self, field: str, value: object, rule: str, hint: str = "") -> None:
        super().__init__(f"{field} is {shortened(value)}, but it {rule}.{' ' + hint if hint else ''}", field=field)
        self.value = value
        self.rule = rule


class NotFound(SdWebuiError):
    """A thing that was asked for by name or id does not exist.

    Args:
        kind: what was looked for ("checkpoint", "sampler", "job").
        name: the name as given.
        known: the names that exist; the nearest ones are offered.
    """

    http_status = 404

    def __init__(self, kind: str, name: str, known: Sequence[str] = (), *, field: str = "") -> None:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f" Did you mean {', '.join(repr(one) for one in near)}?" if near else ""
        if not near and known:
            hint = f" Known: {', '.join(sorted(known)[:8])}{', …' if len(known) > 8 else ''}."
        super().__init__(f"{kind} {shortened(name)} was not found.{hint}", field=field)
        self.kind = kind
        self.nearest = tuple(near)


class NotLoggedIn(SdWebuiError):
    """The request carries no valid session, token or password."""

    http_status = 401


class NotAllowed(SdWebuiError):
    """The caller is known but may not do this."""

    http_status = 403


class TooManyAttempts(SdWebuiError):
    """Too many wrong passwords or too many requests; try again after `retry_after_s` seconds."""

    http_status = 429

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(SdWebuiError):
    """The server cannot take this now; try again after `retry_after_s` seconds."""

    http_status = 503

    def __init__(self, detail: str, retry_after_s: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class StorageFull(SdWebuiError):
    """A file or row could not be written because the disk is full or read-only."""

    http_status = 507


class ModelUnusable(SdWebuiError):
    """A model file cannot be used: damaged, of another family, or not what its name says."""

    http_status = 409


class JobCancelled(SdWebuiError):
    """The job was interrupted before it was done."""

    http_status = 409


class OutOfMemory(SdWebuiError):
    """The device has too little memory for this job."""


class NonFiniteResult(SdWebuiError):
    """A stage produced NaN or infinity in every precision that was tried."""


class WorkerDied(SdWebuiError):
    """The worker process ended while it held the job."""


class ProtocolError(SdWebuiError):
    """A frame between two processes is malformed or too large; the connection cannot be trusted any more."""


class ExtensionError(SdWebuiError):
    """An extension failed in a way that concerns this job."""


def error_from_json(facts: Mapping[str, object]) -> SdWebuiError:
    """Rebuild an error that crossed a process border or a database row, with its class, sentence and field."""
    kind = _ERRORS_BY_NAME.get(str(facts.get("error", "")), SdWebuiError)
    error = kind.__new__(kind)
    SdWebuiError.__init__(error, str(facts.get("detail", "")), field=str(facts.get("field", "")))
    return error


def shortened(value: object, limit: int = 80) -> str:
    """`repr` of a value, cut to `limit` characters, so that a megabyte of prompt never lands in a message."""
    text = repr(value) if not isinstance(value, str) or len(value) <= limit else repr(value[:limit]) + "…"
    return text if len(text) <= limit + 8 else text[:limit] + "…"


_ERRORS_BY_NAME: Mapping[str, type[SdWebuiError]] = {
    kind.__name__: kind
    for kind in (
        SdWebuiError,
        ConfigurationError,
        InvalidRequest,
        NotFound,
        NotLoggedIn,
        NotAllowed,
        TooManyAttempts,
        Overloaded,
        StorageFull,
        ModelUnusable,
        JobCancelled,
        OutOfMemory,
        NonFiniteResult,
        WorkerDied,
        ProtocolError,
        ExtensionError,
    )
}
