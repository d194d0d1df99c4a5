"""What the HTTP edge stands on: the flows and ports of one pod, picked by its architecture."""

from dataclasses import dataclass

from touchline.edge.http.meters import Meters
from touchline.flows.ingest_feed import FeedIngestion
from touchline.flows.move_funds import FundsMoving
from touchline.flows.place_bet import Placing
from touchline.flows.protect_player import PlayerProtection
from touchline.flows.read_balance import BalanceReading
from touchline.flows.serve_odds import OddsServing
from touchline.flows.settle_market import MarketTrading
from touchline.flows.sign_in import SigningIn
from touchline.ports import AccountStore, BetStore, Chance, Clock, MarketStore, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One pod's flows, and the ports that reads go to directly. `currency` is that of every wallet.

    `odds_etag` lets polls be answered 304; `keys_required` refuses bets without an idempotency key.
    """

    markets: MarketStore
    bets: BetStore
    accounts: AccountStore
    tokens: Tokens
    clock: Clock
    chance: Chance
    odds: OddsServing
    placing: Placing
    balances: BalanceReading
    funds: FundsMoving
    protection: PlayerProtection
    signing_in: SigningIn
    trading: MarketTrading
    feed: FeedIngestion
    meters: Meters
    currency: str
    odds_etag: bool
    keys_required: bool
