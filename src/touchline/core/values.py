"""Values that are made for each bet: frozen to the type checker, and not once more to the interpreter.

Invariant: nothing sets a field of a value. mypy refuses whoever tries, as of every frozen dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    # A frozen dataclass goes around its own __setattr__ for each field, of which a bet has dozens.
    def value(*, frozen: bool, **options: Any) -> Callable[[type], type]:
        """Be `dataclass`, with the equality and the hash of a frozen one."""
        return dataclass(unsafe_hash=frozen, **options)


__all__ = ["value"]
