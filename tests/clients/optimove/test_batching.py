"""Cutting the rows of a write into calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.batching import batch_size_of, batches
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.exceptions import OptimoveInputError

LARGEST = {"AddPromotions": 100, "SetCustomerChannelPreference": 50_000, "SendTransactionalMail": 200}


@pytest.mark.parametrize(("name", "largest"), LARGEST.items())
def test_the_documented_maximum_is_the_default_and_the_limit(name: str, largest: int) -> None:
    declared = catalogue()[name]
    assert batch_size_of(declared, None) == largest
    assert batch_size_of(declared, largest) == largest
    assert batch_size_of(declared, 1) == 1
    with pytest.raises(OptimoveInputError) as caught:
        batch_size_of(declared, largest + 1)
    assert caught.value.function == name
    assert caught.value.problems == (f"batch_size: expected a whole number from 1 to {largest:,}, got {largest + 1}",)


def test_metrics_have_no_maximum_but_a_default() -> None:
    declared = catalogue()["UpdateCampaignMetrics"]
    assert batch_size_of(declared, None) == 100
    assert batch_size_of(declared, 1_000_000) == 1_000_000


@pytest.mark.parametrize("name", ["AddPromotions", "UpdateCampaignMetrics"])
@pytest.mark.parametrize("wanted", [0, -1, True, 1.5, "100", [100]])
def test_bad_batch_size(name: str, wanted: Any) -> None:
    with pytest.raises(OptimoveInputError, match="batch_size: expected a whole number"):
        batch_size_of(catalogue()[name], wanted)


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, []), (1, [1]), (99, [99]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_batches(rows: int, sizes: list[int]) -> None:
    cut = list(batches(range(rows), 100))
    assert [len(batch) for batch in cut] == sizes
    assert [row for batch in cut for row in batch] == list(range(rows))


def test_rows_are_taken_when_they_are_needed() -> None:
    taken: list[int] = []

    def rows() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    first = next(batches(rows(), 3))
    assert first == taken == [0, 1, 2]
