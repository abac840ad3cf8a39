"""RunnableSizes: how many examples at once a model takes, as a rule that a few tries gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnableSizes:
    """How many examples a model takes in one pass.

    Attributes:
        least: no fewer, >= 1; itself a multiple of `multiple_of`.
        multiple_of: only multiples of it; 1: any number.
        most: no more; None: there is no end but memory's.
    """

    least: int = 1
    multiple_of: int = 1
    most: int | None = None

    @property
    def are_all(self) -> bool:
        """Whether any number of examples runs."""
        return self == ANY_SIZE

    def holds(self, n_examples: int) -> bool:
        """Whether so many examples run in one pass."""
        fits = self.most is None or n_examples <= self.most
        return fits and n_examples >= self.least and n_examples % self.multiple_of == 0

    def largest_up_to(self, n_examples: int) -> int:
        """The most examples that run, of so many; 0: none do."""
        within = n_examples if self.most is None else min(n_examples, self.most)
        found = within - within % self.multiple_of
        return found if found >= self.least else 0

    def at_once(self, usual: int) -> int:
        """The batch to cut many examples into where `usual` would be: near it, and it runs."""
        return self.largest_up_to(usual) or self.least

    def n_used(self, n_examples: int, *, at_once: int) -> int:
        """How many of a split's examples batches of `at_once` reach, the last one smaller."""
        whole, rest = divmod(n_examples, at_once)
        return whole * at_once + self.largest_up_to(rest)

    def __str__(self) -> str:
        """For messages: `an even number of examples`, `at least 2 examples`."""
        if self.most is not None:
            return f"{self.most} examples at a time only"
        if self.multiple_of == 1:
            return f"at least {self.least} examples"
        multiple = "an even number of"
        if self.multiple_of > 2:
            multiple = f"a multiple of {self.multiple_of}"
        more = f", at least {self.least}" if self.least > self.multiple_of else ""
        return f"{multiple} examples{more}"


ANY_SIZE: Final = RunnableSizes()
"""What nearly every model takes."""
