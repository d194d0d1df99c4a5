"""Files that are whole or not there, and readable by their owner alone where they hold a secret."""

import os
import shutil
import stat
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner can read."""
    _write(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Replace a file by one that everybody can read."""
    _write(path, content, 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    unfinished.replace(path)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory whole or not at all, readable by everybody."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copytree(source, unfinished)
    for path in (unfinished, *unfinished.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
    unfinished.rename(target)
