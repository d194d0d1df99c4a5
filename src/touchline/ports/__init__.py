"""Every door out of the core, on one page: what an adapter must do, and what may be raised through it.

Any method may raise `Outage` (the store is away; the same call with the same keys may be made again) or `Fault`
(an invariant is broken). Only what else can be raised is said below.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from touchline.core.acceptance import Acceptance, Position
from touchline.core.account import Account, Identity, Role
from touchline.core.bet import Bet, BetStatus, PlaceBet
from touchline.core.errors import Rejection
from touchline.core.event import Event
from touchline.core.feed import AnyMessage
from touchline.core.funds import FundsAcceptance, FundsMoved, FundsPosition, MoveFunds
from touchline.core.ids import BetId, EventId, MarketId, MessageId, PlayerId, SelectionId
from touchline.core.ledger import Transfer
from touchline.core.limits import LimitKey, Limits
from touchline.core.market import Market
from touchline.core.settlement import Plan, Settlement
from touchline.core.values import value
from touchline.wire.odds_v1 import PolledMarketV1

EVENTS_MAX: Final = 500
BALANCES_AT_ONCE_MAX: Final = 1_000
LIVE_WITHIN_S: Final = 10  # a poll every 3 s: who was not heard of for three of them has gone
LIVE_STEP_S: Final = 2


class Clock(Protocol):
    """The time, in aware UTC."""

    def now(self) -> datetime:
        """Return the instant."""


class Chance(Protocol):
    """Randomness."""

    def uuid(self) -> UUID:
        """Return a fresh random id, ordered by time where the platform's ids are."""


@value(frozen=True, slots=True)
class Balance:
    """A wallet's balance at its `version`, which rises with each change of the wallet."""

    balance_minor: int
    currency: str
    version: int


@value(frozen=True, slots=True)
class Placed:
    """A bet on record; `balance` is the wallet after it, None where it answers a retry."""

    bet: Bet
    balance: Balance | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is checked against."""

    player_id: PlayerId
    role: Role
    password_hash: str
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class Profile:
    """An account with what only its owner's page shows."""

    account: Account
    username: str
    velocity_flagged_at: datetime | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens no longer good: one (`token_id`), or all of a player issued until `issued_until` but `spared`."""

    until: datetime  # when the last token it names has expired anyway
    token_id: UUID | None = None
    player_id: PlayerId | None = None
    issued_until: datetime | None = None
    spared: UUID | None = None


@dataclass(frozen=True, slots=True)
class SelectionExposure:
    """The open bets on one selection."""

    market_id: MarketId
    selection_id: SelectionId
    bets: int
    stakes_minor: int
    liability_minor: int


@dataclass(frozen=True, slots=True)
class Admission:
    """What the session says of a player who wants to bet: may he, and what he probably has."""

    retry_after_s: int | None  # None: he may
    balance: Balance | None  # None: not in the session
    faster_than_a_person: bool


@dataclass(frozen=True, slots=True)
class Worked:
    """What a transaction of a settlement did: to how many bets, and the balances that it left changed."""

    bets: int
    balances: Mapping[PlayerId, Balance]


class MarketStore(Protocol):
    """Events and markets at their authority, each change versioned and kept."""

    async def get(self, market_id: MarketId) -> Market | None:
        """Return a market, or None."""

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """Return a market as clients poll it, or None; one primary-key read, every time."""

    async def events(self, status: str | None) -> list[tuple[Event, list[Market]]]:
        """Return events with their markets, by start; at most `EVENTS_MAX`, the newest where there are more."""

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]] | None:
        """Return one event with its markets, or None."""

    async def changed_since(self, cursor: str | None) -> tuple[str, list[Market]]:
        """Return what changed since `cursor` (None: the live board) and the cursor to go on from.

        No change is ever missed; one may be told twice.

        Raises:
            Rejection: MALFORMED: no cursor of ours.
        """

    async def is_applied(self, message_id: MessageId) -> bool:
        """Tell whether a feed message is on record."""

    async def record_message(self, message_id: MessageId, at: datetime) -> None:
        """Put a feed message on record; nothing where it is already."""

    async def forget_messages(self, before: datetime, limit: int) -> int:
        """Forget feed messages recorded before an instant, at most `limit`; returns how many."""

    async def change_market(
        self,
        market_id: MarketId,
        event_id: EventId | None,
        change: Callable[[Market | None], Market | None],
        message_id: MessageId | None = None,
    ) -> Market | None:
        """Replace a market by what `change` makes of it, in one step with its history and the message's record.

        `event_id` names the event to create with the market where neither is known. Returns the market after it,
        None where `change` returned None or the message is on record already.
        """

    async def change_event(
        self, event_id: EventId, change: Callable[[Event | None], Event], message_id: MessageId | None = None
    ) -> bool:
        """Replace an event by what `change` makes of it; False where nothing changed or the message is known."""


class BetStore(Protocol):
    """Bets, placed one at a time under their market's lock."""

    async def place(
        self, request: PlaceBet, decide: Callable[[Position], Acceptance | Rejection]
    ) -> Placed | Rejection:
        """Decide on the position as it is under locks (market, then wallet), and record the acceptance durably.

        `decide` is pure, and may be asked more than once.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """

    async def position(self, request: PlaceBet) -> Position:
        """Return the position of `request` as it is just now, under no lock.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """

    async def get(self, player_id: PlayerId, bet_id: BetId) -> Bet | None:
        """Return a player's own bet, or None."""

    async def by_key(self, player_id: PlayerId, key: str) -> Bet | None:
        """Return the bet on record under a player's idempotency key, or None."""

    async def page(
        self, player_id: PlayerId, status: BetStatus | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Bet]:
        """Return a player's bets, newest first, older than `before`, at most `limit`."""

    async def placed_since(self, player_id: PlayerId, since: datetime) -> int:
        """Return how many bets a player placed from `since` on."""

    async def exposures(self) -> list[SelectionExposure]:
        """Return the open bets of every market that has any, by selection."""


class AccountStore(Protocol):
    """Players, their credentials, money and limits."""

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """Open an account with an empty wallet; False where the username is taken."""

    async def credentials(self, username: str) -> Credentials | None:
        """Return what a login is checked against, or None."""

    async def login_failed(self, player_id: PlayerId, failures_max: int, lock_until: datetime) -> datetime | None:
        """Count a wrong password; at the `failures_max`-th in a row lock the account. Returns its lock's end."""

    async def login_succeeded(self, player_id: PlayerId) -> None:
        """Forget the wrong passwords counted so far."""

    async def profile(self, player_id: PlayerId) -> Profile | None:
        """Return an account, or None."""

    async def balance(self, player_id: PlayerId) -> Balance | None:
        """Return a wallet's balance, or None."""

    async def recent_balances(self, since: datetime, limit: int) -> list[tuple[PlayerId, Balance]]:
        """Return the balances of players active from `since` on, at most `limit`, to warm a session cache with."""

    async def move_funds(
        self, request: MoveFunds, decide: Callable[[FundsPosition], FundsAcceptance | Rejection]
    ) -> tuple[FundsMoved, Balance | None] | Rejection:
        """Look up the position under the wallet's lock, decide, and record; the balance is None for a retry.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """

    async def transactions(
        self, player_id: PlayerId, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Transfer]:
        """Return the transfers on a player's accounts, newest first, older than `before`, at most `limit`."""

    async def change_limits(
        self, player_id: PlayerId, wanted: dict[LimitKey, int | None], now: datetime
    ) -> Limits | None:
        """Change the limits named in `wanted` by their rule and return all; None where there's no such player."""

    async def exclude(self, player_id: PlayerId, until: datetime, revocation: Revocation) -> datetime:
        """Exclude a player until the later of `until` and what holds already, and revoke; returns the end.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """

    async def flag_velocity(self, player_id: PlayerId, at: datetime) -> None:
        """Mark an account as betting faster than a person can."""

    async def revoke(self, revocation: Revocation) -> None:
        """Put a revocation on record and tell every pod."""

    def revocations(self) -> AsyncIterator[Revocation]:
        """Yield every standing revocation, then each new one as it is made; begins anew after an outage."""


class SettlementStore(Protocol):
    """Decisions on markets, and their carrying out, some bets a transaction."""

    async def request(
        self,
        market_id: MarketId,
        plan: Callable[[Market, Sequence[Settlement]], Plan | Rejection | None],
        message_id: MessageId | None = None,
    ) -> Plan | Rejection | None:
        """Plan under the market's lock and record market, settlements and message in one step.

        `plan` sees the standing settlements (neither rollbacks nor rolled back), newest first; None changes
        nothing. The returned plan's settlements carry their ids.

        Raises:
            Rejection: MARKET_NOT_FOUND.
        """

    async def of_market(self, market_id: MarketId) -> list[Settlement]:
        """Return a market's settlements, newest first."""

    async def next_unfinished(self) -> Settlement | None:
        """Return the oldest settlement with bets still to work, its total counted; None where all is done."""

    async def open_bets(self, settlement: Settlement, limit: int) -> list[BetId]:
        """Return bets that `settlement` still has to work, at most `limit`; none means that it is done.

        A settlement that a rollback takes back is done as it stands, so that nobody is paid what is taken back.
        """

    async def carry_out(self, settlement: Settlement, bet_ids: Sequence[BetId], at: datetime) -> Worked:
        """Work some bets in one transaction: bets, transfers, wallets, progress.

        Bets on which nothing is left to do are passed over.
        """

    async def finish(self, settlement: Settlement, at: datetime) -> None:
        """Put on record that no bet of `settlement` is left."""

    def requests(self) -> AsyncIterator[None]:
        """Yield at once, then whenever a settlement may have been requested."""


class Books(Protocol):
    """The books as an auditor reads them: two independent records of each sum."""

    async def discrepancies(self) -> list[str]:
        """Return each place where two records of the same money disagree, in words; empty where all balance."""

    async def sums(self) -> dict[str, int]:
        """Return counts and sums in minor units for a summary: bets, wallets, stakes, house, ..."""


class SessionCache(Protocol):
    """What is held of players in memory, shared by all pods; losing it loses no money and changes no answer."""

    async def admit(self, player_id: PlayerId, bet_key: str, now: datetime) -> Admission:
        """Count a bet under `bet_key` against the player's rate, once a key, and return his session."""

    async def withdraw(self, player_id: PlayerId, bet_key: str) -> None:
        """Take back what `admit` counted: the bet was refused."""

    async def balance(self, player_id: PlayerId) -> Balance | None:
        """Return the balance in the session, or None."""

    async def keep(self, balances: Mapping[PlayerId, Balance]) -> None:
        """Keep each balance if it is the newest version, else drop it; at most `BALANCES_AT_ONCE_MAX`."""


class Presence(Protocol):
    """Who is about, told together by all pods; nothing rests on it."""

    async def live(self, player_ids: Collection[PlayerId], now: datetime) -> int:
        """Remember who was heard of; return about how many were within the last `LIVE_WITHIN_S`, each once.

        The window's start is rounded to `LIVE_STEP_S`; the count may be a hundredth off.
        """


class FeedMeter(Protocol):
    """Counts what feeds say; raises nothing."""

    def heard(self, message: AnyMessage, applied: bool) -> None:
        """Count a message that changed something, or was ignored."""


class SettlementMeter(Protocol):
    """Counts what settlement does; raises nothing."""

    def worked(self, settlement: Settlement, bets: int) -> None:
        """Count bets that were worked."""

    def finished(self, settlement: Settlement, at: datetime) -> None:
        """Count a settlement of which no bet is left."""


class Tokens(Protocol):
    """Sessions' tokens, issued and verified without asking a store."""

    def issue(self, player_id: PlayerId, role: Role, token_id: UUID, now: datetime) -> tuple[str, datetime]:
        """Return a token, good until the instant returned with it."""

    def verify(self, token: str) -> Identity:
        """Return whom `token` speaks for.

        Raises:
            Rejection: UNAUTHENTICATED: it is not ours, has expired, or was revoked.
        """

    def revoke(self, revocation: Revocation) -> None:
        """Refuse what `revocation` names from now on, in this process."""


class Passwords(Protocol):
    """Passwords' hashes."""

    async def hash_password(self, password: str) -> str:
        """Return the hash to keep."""

    async def verify_password(self, password_hash: str | None, password: str) -> bool:
        """Tell whether `password` is the one hashed; None, nobody's, takes as long and is False."""
