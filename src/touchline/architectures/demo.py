"""The accounts that a demonstration begins with. Outside demo mode nobody can log in to them."""

from typing import Final

from touchline.core.account import Role
from touchline.core.funds import MoveFunds
from touchline.core.ids import PlayerId
from touchline.core.ledger import TransferKind
from touchline.edge.http.platform import Platform
from touchline.flows.sign_in import DEMO_PASSWORD
from touchline.ports import Credentials, Passwords

ACCOUNTS: Final = {"alice": Role.PLAYER, "bob": Role.PLAYER, "trader": Role.TRADER, "feed": Role.FEED}
OPENING_MINOR: Final = 100_000


async def open_demo_accounts(platform: Platform, passwords: Passwords) -> None:
    """Open the demo accounts and bring each player's opening balance in; those that are there stay as they are."""
    for name, role in ACCOUNTS.items():
        if await platform.accounts.credentials(name) is None:
            credentials = Credentials(PlayerId(name), role, await passwords.hash_password(DEMO_PASSWORD), None)
            await platform.accounts.register(credentials, name, platform.currency, platform.clock.now())
        if role is Role.PLAYER:
            # The key makes it one deposit for ever, also where an earlier start was cut off in between.
            opening = MoveFunds(
                move_id=platform.chance.uuid(),
                player_id=PlayerId(name),
                kind=TransferKind.DEPOSIT,
                amount_minor=OPENING_MINOR,
                idempotency_key="demo opening balance",
            )
            await platform.funds.move(opening)
