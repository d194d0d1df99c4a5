"""How often the interpreter looks for garbage, in a process that makes objects by the ten thousand and drops them.

A batch of bets is some 30,000 objects, none of them in a cycle: they go as they are dropped. Looking for cycles
after each 700 of them, as the interpreter does by itself, was a third of what a shard's writer cost.
"""

import gc
from typing import Final

MADE_BEFORE_A_LOOK: Final = 200_000
LOOKS_BEFORE_AN_OLDER: Final = (20, 100)


def collect_seldom() -> None:
    """Look for garbage seldom, and never again among what is there by now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(MADE_BEFORE_A_LOOK, *LOOKS_BEFORE_AN_OLDER)
