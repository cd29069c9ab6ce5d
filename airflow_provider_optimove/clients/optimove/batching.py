"""Cutting the rows of a write into calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from airflow_provider_optimove.clients.optimove.functions import Function
from airflow_provider_optimove.exceptions import OptimoveInputError

T = TypeVar("T")

# UpdateCampaignMetrics is the only write without a documented limit; this is our choice for it.
UNLIMITED_BATCH = 100


def batch_size_of(function: Function, wanted: int | None) -> int:
    """Rows a call: what was asked for, or the documented maximum.

    :param function: a function that takes rows.
    :param wanted: rows a call, or None.
    :raises OptimoveInputError: ``wanted`` is not between 1 and the documented maximum.
    """
    largest = function.max_rows or UNLIMITED_BATCH
    if wanted is None:
        return largest
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= (function.max_rows or wanted):
        limits = f"from 1 to {function.max_rows:,}" if function.max_rows else "of 1 or more"
        raise OptimoveInputError(
            "the arguments are not valid",
            function=function.name,
            problems=[f"batch_size: expected a whole number {limits}, got {wanted!r}"],
        )
    return wanted


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """The rows in lists of ``size``; the last may be shorter."""
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch
