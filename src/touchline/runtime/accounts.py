"""Whom the database server runs as: PostgreSQL refuses root, so root hands it to an account without rights.

Invariant: what is handed over is the server's own directory, never one that holds anything else.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNPRIVILEGED: Final = ("touchline", "nobody")  # the first that exists


@dataclass(frozen=True, slots=True)
class Account:
    """A system account."""

    name: str
    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Return the account that a server must be run as; None where we are no root and it runs as we do."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    raise OSError(f"none of the accounts {', '.join(UNPRIVILEGED)} exists to run PostgreSQL as")


def can_reach(account: Account | None, path: Path) -> bool:
    """Tell whether `account` may pass through every directory above `path` that exists, and read `path`."""
    if account is None:
        return True
    place = path.resolve()
    needed = [(place, stat.S_IROTH | stat.S_IXOTH)] if place.exists() else []
    needed += [(above, stat.S_IXOTH) for above in place.parents if above.exists()]
    return all(_allows(account, at, bits) for at, bits in needed)


def hand_over(path: Path, account: Account | None) -> None:
    """Make `path` a directory that is `account`'s alone."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _allows(account: Account, path: Path, other_bits: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        return found.st_mode & other_bits << 6 == other_bits << 6
    if found.st_gid == account.gid:
        return found.st_mode & other_bits << 3 == other_bits << 3
    return found.st_mode & other_bits == other_bits
