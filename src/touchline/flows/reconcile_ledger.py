"""Compare the books with themselves: two independent records of each sum must agree."""

from dataclasses import dataclass

from touchline.ports import Books


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a reconciliation found: `discrepancies` is empty exactly where the books balance."""

    discrepancies: list[str]
    sums: dict[str, int]


async def reconcile(books: Books) -> Reconciliation:
    """Return what a reader of the books finds."""
    return Reconciliation(await books.discrepancies(), await books.sums())
