"""Open accounts, log in and out."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from touchline.core.account import Identity, Role
from touchline.core.errors import Code, Rejection
from touchline.core.ids import PlayerId
from touchline.ports import AccountStore, Chance, Clock, Credentials, Passwords, Revocation, Tokens

PASSWORD_LENGTH_MIN: Final = 8
PASSWORD_LENGTH_MAX: Final = 256
# Shorter than any account can choose, so only demo accounts have it.
DEMO_PASSWORD: Final = "demo"  # noqa: S105  # published on purpose
_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")


@dataclass(frozen=True, slots=True)
class Session:
    """A player's session as it begins."""

    token: str
    expires_at: datetime
    player_id: PlayerId
    role: Role


@dataclass(frozen=True, slots=True)
class SigningIn:
    """Accounts and the sessions they open. Wrong passwords in a row lock an account for a while.

    The demo accounts' published password opens them only where `demo`.
    """

    accounts: AccountStore
    tokens: Tokens
    passwords: Passwords
    clock: Clock
    chance: Chance
    currency: str
    failures_max: int
    lock_for: timedelta
    demo: bool

    async def register(self, username: str, password: str) -> Session:
        """Open a player's account and log in to it.

        Raises:
            Rejection: MALFORMED: the username is taken or can't be one, or the password is too short or long.
        """
        if not _USERNAME.fullmatch(username):
            raise Rejection(
                Code.MALFORMED,
                "username must be 3 to 64 letters, digits or ._-, starting with a letter or digit",
                field="username",
            )
        if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
            raise Rejection(
                Code.MALFORMED,
                f"password must be {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters",
                field="password",
            )
        player_id = PlayerId(str(self.chance.uuid()))
        hashed = await self.passwords.hash_password(password)
        credentials = Credentials(player_id, Role.PLAYER, hashed, None)
        if not await self.accounts.register(credentials, username, self.currency, self.clock.now()):
            raise Rejection(Code.MALFORMED, "the username is taken: choose another", field="username")
        return self._begin(credentials)

    async def log_in(self, username: str, password: str) -> Session:
        """Begin a session.

        Raises:
            Rejection: UNAUTHENTICATED: no such username and password; ACCOUNT_LOCKED: too many wrong ones
                before.
        """
        known = _USERNAME.fullmatch(username)  # what no account can be called is looked up nowhere
        credentials = await self.accounts.credentials(username) if known else None
        hashed = None if credentials is None else credentials.password_hash
        matches = await self.passwords.verify_password(hashed, password[: PASSWORD_LENGTH_MAX + 1])
        if credentials is None:
            raise Rejection(Code.UNAUTHENTICATED, "no such username and password")
        now = self.clock.now()
        locked_until = credentials.locked_until
        if locked_until is not None and now < locked_until:
            raise self._locked(locked_until, now)
        if matches and (self.demo or password != DEMO_PASSWORD):
            await self.accounts.login_succeeded(credentials.player_id)
            return self._begin(credentials)
        await self.accounts.login_failed(credentials.player_id, self.failures_max, now + self.lock_for)
        raise Rejection(Code.UNAUTHENTICATED, "no such username and password")

    async def log_out(self, identity: Identity) -> None:
        """End the session of one token, on every pod."""
        revocation = Revocation(until=identity.expires_at, token_id=identity.token_id)
        self.tokens.revoke(revocation)
        await self.accounts.revoke(revocation)

    def _begin(self, credentials: Credentials) -> Session:
        token, expires_at = self.tokens.issue(
            credentials.player_id, credentials.role, self.chance.uuid(), self.clock.now()
        )
        return Session(token, expires_at, credentials.player_id, credentials.role)

    def _locked(self, until: datetime, now: datetime) -> Rejection:
        return Rejection(
            Code.ACCOUNT_LOCKED,
            "too many wrong passwords: the account is locked for a while",
            until=until,
            retry_after_s=max(1, int((until - now).total_seconds())),
        )
