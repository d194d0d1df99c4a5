"""What each kind of run gives to its report.

Invariant: a headline is one sentence, put together from what was measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from touchline.lab.evidence import Evidence
from touchline.lab.markup import Markup


@dataclass(frozen=True)
class Section:
    """The headline, a sentence under it, figures as (what, how much), and charts, the telling ones first."""

    headline: str
    detail: str = ""
    figures: Sequence[tuple[str, str]] = ()
    charts: Sequence[Markup] = field(default_factory=tuple)


Sections = Callable[[Evidence], Section]
