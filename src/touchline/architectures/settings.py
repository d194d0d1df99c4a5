"""Every setting of the platform: one frozen structure, read once from `TOUCHLINE_*`, its problems told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from touchline.adapters.tokens import SECRET_BYTES_MIN

PREFIX: Final = "TOUCHLINE_"

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=31_536_000)]
Percent = Annotated[str, msgspec.Meta(pattern=r"^\d{1,2}(\.\d{1,3})?$")]
Pooler = Annotated[str, msgspec.Meta(pattern=r"^(none|pgbouncer|postgres(ql)?://\S+)$")]
Replica = Annotated[str, msgspec.Meta(pattern=r"^(none|own|postgres(ql)?://\S+)$")]
Minor = Annotated[int, msgspec.Meta(ge=1, le=10**12)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, with their defaults; `TOUCHLINE_PODS=6` sets `pods`. Documented in docs/settings.md."""

    architecture: Literal["poll", "stream"] = "poll"
    port: Port = 8000  # where clients connect: the load balancer's
    pods: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    feed: Literal["demo", "none"] = "demo"
    data_dir: Path = Path(".touchline")
    postgres: str = ""  # a DSN; empty: a server of our own
    valkey: str = ""  # a URL; empty: a server of our own
    odds_valkey: str = ""  # a URL, `stream`'s authority on odds; empty: as `valkey`, or another server of our own
    kafka: str = ""  # HOST:PORT of a cluster that `stream` logs its facts to; empty: PostgreSQL is the log
    demo: bool = True  # demo accounts with their published password
    token_secret: str = ""  # empty: made at the first start and kept in data_dir

    token_ttl_s: Seconds = 8 * 3600
    verified_tokens_max: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 50_000
    login_failures_max: Count = 3
    login_lock_s: Seconds = 900

    currency: Literal["EUR", "GBP", "USD", "JPY", "KWD"] = "EUR"  # of every wallet; fixed once there are any
    bets_per_minute_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10
    velocity_bets: Count = 3  # this many bets within velocity_window_ms are faster than a person bets
    velocity_window_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 2_000
    stake_min_minor: Minor = 10
    stake_max_minor: Minor = 1_000_000
    exposure_max_minor: Minor = 100_000_000

    shards: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2  # of `stream`'s ledger; fixed once there are accounts
    shard: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0  # the one that this process writes, if any
    gateways: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # processes that push `stream`'s odds

    session_ttl_s: Seconds = 1800
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=500)] = 10  # PostgreSQL connections of one pod
    pool_waiters_max: Count = 1_000  # requests of one pod that may wait for a connection; more answer 503
    pool_wait_s: Seconds = 5
    valkey_timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 250

    # The ladder: each mitigates one way in which V0 breaks, and is off unless it is asked for.
    odds_cache: Literal["none", "redis"] = "none"  # where polls are answered from; none: PostgreSQL, each time
    odds_etag: bool = False  # polls carry an ETag, and one that matches is answered 304
    settlement: Literal["sequential", "set"] = "sequential"  # one bet a transaction, or a set of them
    idempotency: Literal["optional", "required"] = "optional"  # whether a bet may come without a key
    odds_tolerance_pct: Percent = "0"  # how far a price may have moved so that a bet on it is honoured
    pooler: Pooler = "none"  # a DSN; pgbouncer: one of our own between the pods and PostgreSQL
    pooler_size: Annotated[int, msgspec.Meta(ge=1, le=500)] = 20  # PostgreSQL connections of our own pooler
    read_replica: Replica = "none"  # a DSN, that polls of a market read; own: a replica of our own PostgreSQL
    odds_breaker: bool = False  # while PostgreSQL is away polls are answered as last known, bets refused at once

    demo_seed: int = 1
    demo_matches: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    demo_speed: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 6.0  # match seconds in a second


class SettingsWrong(Exception):
    """One or more settings can't be used; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings of `environ`; an unknown `TOUCHLINE_*` variable is a problem, and so is a bad value.

    Raises:
        SettingsWrong: with every problem found.
    """
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    values: dict[str, object] = {}
    problems = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in fields:
            problems.append(f"{variable} is no setting; docs/settings.md lists them all")
            continue
        try:
            values[name] = msgspec.convert(
                environ[variable], fields[name].type, strict=False, dec_hook=_path_from_text
            )
        except msgspec.ValidationError as wrong:
            problems.append(f"{variable}={environ[variable]!r}: {wrong}")
    settings = Settings(**values)  # type: ignore[arg-type]  # converted above, field by field
    problems += _contradictions(settings)
    if problems:
        raise SettingsWrong(problems)
    return settings


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if settings.stake_min_minor > settings.stake_max_minor:
        problems.append("TOUCHLINE_STAKE_MIN_MINOR is above TOUCHLINE_STAKE_MAX_MINOR: no bet could be placed")
    if settings.read_replica == "own" and settings.postgres:
        problems.append("TOUCHLINE_READ_REPLICA=own copies a PostgreSQL of our own: name yours by its DSN")
    if 0 < len(settings.token_secret.encode()) < SECRET_BYTES_MIN:
        problems.append(f"TOUCHLINE_TOKEN_SECRET is shorter than {SECRET_BYTES_MIN} bytes")
    return problems


def to_environ(settings: Settings) -> dict[str, str]:
    """Return the variables from which `read_settings` reads `settings` again."""
    return {
        PREFIX + field.name.upper(): str(getattr(settings, field.name))
        for field in msgspec.structs.fields(Settings)
    }


def _path_from_text(kind: type, text: object) -> object:
    return Path(str(text)) if kind is Path else text
