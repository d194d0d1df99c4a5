"""What every command shares: its settings, the platform it is about, and how it refuses.

Invariant: a refusal is a line on stderr for each reason, and exit status 2.
"""

import os
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from touchline.architectures.settings import PREFIX, Settings, SettingsWrong, read_settings
from touchline.runtime.instance import Instance
from touchline.runtime.launch import running


def refuse(*reasons: str) -> NoReturn:
    """Say why nothing was done, a line each, and end."""
    console = Console(stderr=True, highlight=False)
    for reason in reasons:
        console.print(f"[red]✗[/] {escape(reason)}", soft_wrap=True)
    raise typer.Exit(2)


def settings_of(**options: object) -> Settings:
    """Return the settings, the command's options standing above the environment; what is wrong is refused."""
    given = {PREFIX + name.upper(): str(value) for name, value in options.items() if value is not None}
    try:
        return read_settings(os.environ | given)
    except SettingsWrong as wrong:
        refuse(*wrong.problems)


def instance_in(data_dir: Path) -> Instance | None:
    """Return the platform that runs in a directory, or None; a directory of somebody else's is refused."""
    try:
        return running(data_dir)
    except PermissionError:
        refuse(f"{data_dir} is not yours to read: ask as whoever started the platform")


def dsn_of(data_dir: Path | None) -> str:
    """Return the PostgreSQL that the settings name, or the running platform's."""
    settings = settings_of(data_dir=data_dir)
    if settings.postgres:
        return settings.postgres
    instance = instance_in(settings.data_dir)
    if instance is None:
        refuse("no platform runs here and TOUCHLINE_POSTGRES names no server; `touchline up` starts one")
    return instance.postgres
