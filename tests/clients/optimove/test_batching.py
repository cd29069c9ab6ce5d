"""Cutting the rows of a write into calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.batching import Plan, batch_size_of, plan_batches
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.clients.optimove.rows import Objects, RowChecker, row_shape
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


def plan_of(rows: list[Any], size: int, stretch: int = 7) -> Plan:
    function = catalogue()["SetCustomerChannelPreference"]
    stretches = [Objects(rows[start : start + stretch]) for start in range(0, len(rows), stretch)]
    return plan_batches(function, stretches, RowChecker(row_shape(function)), size)


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, []), (1, [1]), (99, [99]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_batches(rows: int, sizes: list[int]) -> None:
    ids = [str(number) for number in range(rows)]
    with plan_of(ids, 100) as plan:
        batches = [plan[number] for number in range(len(plan))]
        assert plan.rows == rows
    assert [batch.count for batch in batches] == sizes
    assert [number for batch in batches for number in json.loads(batch.content)] == ids
    assert [batch.before for batch in batches] == [100 * number for number in range(len(sizes))]
