"""What is asked of the authority on odds where somebody else runs it, before it is relied on."""

import logging
from typing import Final

from touchline.adapters.valkey.keeping import Keeping, read_keeping
from touchline.architectures.settings import Settings, SettingsWrong

TIMEOUT_MS: Final = 2_000
EVICTS: Final = (
    "the authority on odds forgets markets once it is full: set its maxmemory-policy to noeviction,"
    " or name another server by TOUCHLINE_ODDS_VALKEY"
)
_log: Final = logging.getLogger("touchline.authority")


async def warn_of_losses(settings: Settings) -> Keeping:
    """Return how it keeps what it holds, once what it may lose is in the log."""
    keeping = await read_keeping(settings.odds_valkey, TIMEOUT_MS)
    for doubt in keeping.doubts:
        _log.warning("the authority on odds, TOUCHLINE_ODDS_VALKEY: %s", doubt)
    return keeping


async def refuse_evicting(settings: Settings) -> None:
    """Warn as above.

    Raises:
        SettingsWrong: it forgets what it has no room for.
    """
    if (await warn_of_losses(settings)).evicts:
        raise SettingsWrong([EVICTS])
