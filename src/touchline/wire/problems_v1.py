"""Refusals on the wire: RFC 9457 problem documents, with one table from codes to HTTP."""

from typing import Final

import msgspec

from touchline.core.errors import Code, Outage, Rejection

CONTENT_TYPE: Final = "application/problem+json"

STATUS_OF_CODE: Final[dict[Code, int]] = {
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.MALFORMED: 400,
    Code.RATE_LIMITED: 429,
    Code.IDEMPOTENCY_CONFLICT: 409,
    Code.SELF_EXCLUDED: 403,
    Code.ACCOUNT_LOCKED: 403,
    Code.JURISDICTION_REFUSED: 403,
    Code.MARKET_NOT_FOUND: 404,
    Code.SELECTION_NOT_FOUND: 404,
    Code.MARKET_CLOSED: 409,
    Code.MARKET_SUSPENDED: 409,
    Code.BET_EXPIRED: 409,
    Code.ODDS_CHANGED: 409,
    Code.STAKE_OUT_OF_RANGE: 422,
    Code.LIMIT_EXCEEDED: 403,
    Code.EXPOSURE_EXCEEDED: 409,
    Code.INSUFFICIENT_BALANCE: 400,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}


def problem(code: Code, detail: str, extra: object = None) -> bytes:
    """Return the problem document of a refusal; `extra` members stand beside the standard ones."""
    title = code.value.replace("_", " ").capitalize()
    document: dict[str, object] = {
        "type": f"urn:touchline:problem:{code.value.lower().replace('_', '-')}",
        "title": title,
        "status": STATUS_OF_CODE[code],
        "code": code.value,
        "detail": detail,
    }
    if isinstance(extra, dict):
        document |= {name: value for name, value in extra.items() if name not in document}
    return msgspec.json.encode(document)


def told(wrong: msgspec.ValidationError) -> tuple[str, dict[str, str]]:
    """Return what msgspec says is wrong, and the `field` that it names, if any."""
    what, _, where = str(wrong).partition(" - at `$.")
    if where:
        return what, {"field": where.rstrip("`")}
    parts = what.split("field `")  # "Object missing required field `stake`"
    return what, {"field": parts[1].partition("`")[0]} if len(parts) == 2 else {}


def problem_of_rejection(rejection: Rejection) -> bytes:
    """Return the problem document of a `Rejection`."""
    return problem(rejection.code, rejection.detail, dict(rejection.extra))


def problem_of_outage(outage: Outage) -> bytes:
    """Return the problem document of an `Outage`: what is away stays inside, when to retry goes out."""
    detail = "a part of the platform is away; nothing was recorded, or the idempotency key tells"
    return problem(Code.UNAVAILABLE, detail, {"retry_after_s": outage.retry_after_s})
