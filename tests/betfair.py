"""Lines of Betfair's stream, made by hand."""

import json
from typing import Any

PT = 1_600_000_000_000


def definition(status: str = "OPEN", runners: Any = ("ACTIVE", "ACTIVE"), **other: Any) -> dict[str, Any]:
    """A market definition whose runners are numbered from 1."""
    listed = [
        {"id": number, "status": runner, "sortPriority": number} if isinstance(runner, str) else runner
        for number, runner in enumerate(runners, start=1)
    ]
    return {"eventId": "77", "status": status, "runners": listed, "bettingType": "ODDS", **other}


def mcm(*changes: dict[str, Any], pt: int = PT, **other: Any) -> bytes:
    """A line with market changes of market 1.5 unless they name another."""
    return json.dumps(
        {"op": "mcm", "pt": pt, "mc": [{"id": "1.5"} | change for change in changes], **other}
    ).encode()
