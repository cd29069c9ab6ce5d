"""Cutting the rows of a write into calls."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove import batching
from airflow_provider_optimove.clients.optimove.batching import (
    Batch,
    Plan,
    batch_size_of,
    plan_batches,
    row_numbers,
)
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.clients.optimove.rows import (
    Grouping,
    Objects,
    RowChecker,
    Stretch,
    Table,
    Unreadable,
    row_shape,
)
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


INTERACTIONS = catalogue()["UpdateCampaignInteractions"]
PREFERENCE = catalogue()["SetCustomerChannelPreference"]


def grouping(*given: str) -> Grouping:
    (value,) = row_shape(INTERACTIONS).fields.values()
    others = {p.name: p for p in INTERACTIONS.parameters_beside_rows}
    return Grouping(value, {name: p for name, p in others.items() if name not in given}, elsewhere=given)


def interaction(campaign: int, customer: str) -> dict[str, Any]:
    return {
        "CustomerID": customer,
        "CampaignID": campaign,
        "ChannelID": 15,
        "InteractionDate": "2026-11-20",
        "TemplateID": 8,
        "EventID": 2,
    }


def cut(rows: list[Any], chance: random.Random, longest: int = 4_000) -> list[Stretch]:
    """Stretches of random length, as objects and as tables."""
    stretches: list[Stretch] = []
    start = 0
    while start < len(rows):
        part = rows[start : start + chance.randrange(1, longest)]
        start += len(part)
        if chance.random() < 0.5:
            stretches.append(Objects(part))
        else:
            cells = list(zip(*(map(str, row.values()) for row in part), strict=True))
            stretches.append(Table(tuple(part[0]), cells, text=True))
    return stretches


def grouped(stretches: list[Stretch], size: int) -> list[Batch]:
    with plan_batches(INTERACTIONS, stretches, grouping(), size) as plan:
        return [plan[number] for number in range(len(plan))]


def by_campaign(batches: list[Batch]) -> dict[int, list[str]]:
    """The customers of each campaign in the order of their batches, which must begin where the one before ended."""
    found: dict[int, list[str]] = {}
    for batch in batches:
        customers = json.loads(batch.content)
        known = found.setdefault(batch.shared["CampaignID"], [])
        assert (batch.before, batch.count) == (len(known), len(customers))
        known += customers
    return found


@pytest.mark.parametrize("size", [777, 50_000, 1_000_000])
def test_interactions_become_as_few_batches_as_there_can_be(size: int) -> None:
    chance = random.Random(size)
    campaigns = [chance.randrange(12) if number % 3 else number % 2 for number in range(100_000)]
    rows = [interaction(campaign, f"C{number}") for number, campaign in enumerate(campaigns)]
    expected: dict[int, list[str]] = {}
    for row in rows:
        expected.setdefault(row["CampaignID"], []).append(row["CustomerID"])
    batches = grouped(cut(rows, chance), size)
    assert by_campaign(batches) == expected
    assert len(batches) == sum(math.ceil(len(customers) / size) for customers in expected.values())
    assert max(batch.count for batch in batches) <= size


@pytest.mark.parametrize(("rows_bound", "groups_bound"), [(50, 1_000), (10_000, 3), (0, 1_000), (20, 2)])
def test_no_more_rows_wait_than_the_memory_allows(
    rows_bound: int, groups_bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight bytes a customer, as `"C0001",`.
    monkeypatch.setattr(batching, "MOST_WAITING_BYTES", 8 * rows_bound)
    monkeypatch.setattr(batching, "MOST_WAITING_GROUPS", groups_bound)
    plans: list[Plan] = []
    monkeypatch.setattr(Plan, "__init__", seen(Plan.__init__, plans))
    chance = random.Random(rows_bound)
    rows = [interaction(chance.randrange(20), f"C{number:04}") for number in range(3_000)]
    expected: dict[int, list[str]] = {}
    for row in rows:
        expected.setdefault(row["CampaignID"], []).append(row["CustomerID"])

    def watched() -> Iterator[Stretch]:
        read = 0
        for stretch in cut(rows, chance, longest=60):
            yield stretch
            # Whoever asks for the next has sorted in the one before.
            read += len(stretch)
            assert read - plans[0].rows <= rows_bound
            left = Counter(row["CampaignID"] for row in rows[:read])
            for batch in plans[0]:  # type: ignore[attr-defined]
                left[batch.shared["CampaignID"]] -= batch.count
            assert sum(count > 0 for count in left.values()) <= groups_bound

    with plan_batches(INTERACTIONS, watched(), grouping(), 100) as plan:
        batches = [plan[number] for number in range(len(plan))]
    assert by_campaign(batches) == expected
    assert max(batch.count for batch in batches) <= 100


def seen(original: Callable[..., None], instances: list[Any]) -> Callable[..., None]:
    def init(self: Any, *args: Any) -> None:
        instances.append(self)
        original(self, *args)

    return init


@pytest.mark.parametrize(("bound", "value"), [("MOST_WAITING_BYTES", 9 * len('"C0",')), ("MOST_WAITING_GROUPS", 2)])
def test_the_fullest_group_leaves_first(bound: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, bound, value)
    campaigns = [1, 2, 2, 2, 2, 3, 3, 1, 3, 2]
    batches = grouped([Objects([interaction(c, f"C{n}") for n, c in enumerate(campaigns)])], 100)
    assert [(batch.shared["CampaignID"], batch.count) for batch in batches] == [(2, 5), (1, 2), (3, 3)]


def test_groups_of_equal_size_leave_in_the_order_of_their_first_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_WAITING_GROUPS", 1)
    batches = grouped([Objects([interaction(campaign, "C1") for campaign in (3, 1, 2)])], 100)
    assert [batch.shared["CampaignID"] for batch in batches] == [3, 1, 2]


def numbered(stretches: list[Stretch]) -> dict[int, Any]:
    """Each row by its number."""
    rows = (row for part in stretches for row in (part.rows() if isinstance(part, Table) else part.rows))
    return dict(enumerate(rows, 1))


def test_numbers_of_the_rows_of_a_batch() -> None:
    chance = random.Random(5)
    rows = [interaction(chance.randrange(5), f"C{number}") for number in range(2_000)]
    for row in rows:
        if chance.random() < 0.3:
            row["AppID"] = chance.choice(["x", "y", None])
    stretches: list[Stretch] = [Objects(rows[start : start + 130]) for start in range(0, len(rows), 130)]
    known = numbered(stretches)
    checker = grouping()
    named: list[int] = []
    with plan_batches(INTERACTIONS, stretches, checker, 90) as plan:
        for number in range(len(plan)):
            numbers = row_numbers(plan[number], stretches, checker) or []
            assert [known[found]["CustomerID"] for found in numbers] == json.loads(plan[number].content)
            named += numbers
    assert sorted(named) == sorted(known)


def test_numbers_of_plain_rows() -> None:
    ids = [f"C{number}" for number in range(250)]
    checker = RowChecker(row_shape(PREFERENCE))
    with plan_of(ids, 100) as plan:
        numbers = [row_numbers(plan[number], [], checker) for number in range(len(plan))]
    assert numbers == [range(1, 101), range(101, 201), range(201, 251)]


def test_batches_hold_the_same_rows_however_the_input_comes() -> None:
    ids = [f"C{number}" for number in range(1_000)]
    prints = set()
    for stretch in (1, 7, 100, 999, 5_000):
        with plan_of(ids, 100, stretch) as plan:
            prints.add(plan.fingerprint({}))
    assert len(prints) == 1


PURE = """
import random
from airflow_provider_optimove.clients.optimove.batching import plan_batches
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.clients.optimove.rows import Grouping, Objects, RowChecker, Table, row_shape

chance = random.Random(1)
function = catalogue()["UpdateCampaignInteractions"]
(value,) = row_shape(function).fields.values()
others = {p.name: p for p in function.own_parameters if p.python_name not in (function.rows, "channel_id")}
rows = [
    {"CustomerID": f"C{n}", "CampaignID": chance.randrange(9), "InteractionDate": "2026-11-20",
     "TemplateID": chance.choice([1, "1", 2]), "EventID": chance.choice(["opened", 2, 3])}
    for n in range(3000)
]
stretches = [Objects(rows[start : start + 250]) for start in range(0, 3000, 250)]
with plan_batches(function, stretches, Grouping(value, others, {"ChannelID"}), 70) as plan:
    print(plan.fingerprint({"ChannelID": 15, "B": [1, {"b": 1, "a": 2}]}))
    print([(batch.shared, batch.before, batch.count, batch.content) for batch in plan])
bad = Table(("Colour", "Size", "customerid", "CUSTOMERID", "ChannelID"), [[1]] * 5)
shape = row_shape(catalogue()["AddChannelTemplates"])
customers = row_shape(catalogue()["SetCustomerChannelPreference"])
for checker in (RowChecker(shape), RowChecker(customers), Grouping(value, others, {"ChannelID"})):
    try:
        plan_batches(function, [bad], checker, 70)
    except ValueError as error:
        print(error)
rows = [{"CustomerID": "C1", "Note": 1}, {"Other": 2, "CustomerID": "C2", "Third": 3}]
with plan_batches(catalogue()["SetCustomerChannelPreference"], [Objects(rows)], RowChecker(customers), 5) as plan:
    print(plan.fingerprint({}))
"""


def test_a_plan_is_the_same_in_every_process() -> None:
    outputs = set()
    for seed in ("0", "1", "2", "99"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", PURE], env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    (output,) = outputs
    assert output.count("no such column") == 6
    assert len(output.splitlines()[0]) == 64


def test_every_change_shows_in_the_fingerprint() -> None:
    ids = [f"C{number}" for number in range(50)]
    arguments = {"ChannelID": 15, "CommunicationMode": 1}
    swapped = [*ids[:20], ids[21], ids[20], *ids[22:]]
    plans: dict[str, tuple[list[Any], int, dict[str, Any]]] = {
        "as it is": (ids, 10, arguments),
        "one value": ([*ids[:49], "C0049"], 10, arguments),
        "order": (swapped, 10, arguments),
        "one less": (ids[:-1], 10, arguments),
        "one more": ([*ids, "C49"], 10, arguments),
        "two in one": ([*ids[:10], ids[10] + ids[11], *ids[12:]], 10, arguments),
        "batch size": (ids, 11, arguments),
        "twice the batch size": (ids, 20, arguments),
        "argument": (ids, 10, {**arguments, "CommunicationMode": 2}),
        "argument's type": (ids, 10, {**arguments, "CommunicationMode": "1"}),
        "argument more": (ids, 10, {**arguments, "AppID": "x"}),
        "argument less": (ids, 10, {"ChannelID": 15}),
        "arguments exchanged": (ids, 10, {"ChannelID": 1, "CommunicationMode": 15}),
        "nothing": ([], 10, arguments),
    }
    prints = {}
    for name, (rows, size, given) in plans.items():
        with plan_of(rows, size) as plan:
            prints[name] = plan.fingerprint(given)
            assert plan.fingerprint(dict(reversed(given.items()))) == prints[name] == plan.fingerprint(given)
    assert len(set(prints.values())) == len(plans)
    function = catalogue()["RemoveCustomerPII"]
    with plan_batches(function, [Objects(ids)], RowChecker(row_shape(function)), 10) as plan:
        assert plan.fingerprint(arguments) != prints["as it is"]


def test_what_rows_have_in_common_shows_in_the_fingerprint() -> None:
    prints = set()
    for change in ({}, {"CampaignID": 2}, {"EventID": 3}, {"AppID": "x"}, {"AppID": "y"}, {"RecipientGroupID": 1}):
        with plan_batches(INTERACTIONS, [Objects([{**interaction(1, "C1"), **change}])], grouping(), 5) as plan:
            prints.add(plan.fingerprint({}))
    assert len(prints) == 6


@pytest.mark.parametrize("kind", ["plain", "grouped"])
@pytest.mark.parametrize("bad", [1, 20, 21, 137])
def test_bad_rows_are_numbered_over_the_borders_of_stretches(bad: int, kind: str) -> None:
    chance = random.Random(bad)
    numbers = sorted(chance.sample(range(1, 1_001), bad))
    rows = [interaction(1, f"C{number}") for number in range(1_000)]
    for number in numbers:
        rows[number - 1]["CustomerID"] = chance.choice([None, True, "", " ", [], 1.5])
    function, check = INTERACTIONS, grouping()
    if kind == "plain":
        function, check = PREFERENCE, RowChecker(row_shape(PREFERENCE))  # type: ignore[assignment]
        rows = [row["CustomerID"] for row in rows]
    stretches = [Objects(rows[start : start + 90]) for start in range(0, 1_000, 90)]
    with pytest.raises(OptimoveInputError) as caught:
        plan_batches(function, stretches, check, 100)
    named = [int(problem.split(":")[0].removeprefix("row ").replace(",", "")) for problem in caught.value.problems]
    assert named == numbers[:20]
    first, *_, last = str(caught.value).splitlines()
    assert first.endswith(f"{bad} of 1,000 rows {'is' if bad == 1 else 'are'} not valid")
    assert last.strip() == (f"... and {bad - 20:,} more" if bad > 20 else caught.value.problems[-1])


def test_unreadable_rows_say_why() -> None:
    rows = ["C1", Unreadable("not valid JSON: truncated"), "C3"]
    with pytest.raises(OptimoveInputError) as caught:
        plan_of(rows, 100, stretch=1)
    assert caught.value.problems == ("row 2: not valid JSON: truncated",)


def test_empty_stretches_are_no_rows() -> None:
    stretches: list[Stretch] = [Objects([]), Objects(["C1"]), Table((), []), Table(("Colour",), [[]]), Objects(["C2"])]
    with plan_batches(PREFERENCE, stretches, RowChecker(row_shape(PREFERENCE)), 5) as plan:
        assert [batch.content for batch in plan] == [b'["C1","C2"]']  # type: ignore[attr-defined]


def test_batches_beyond_the_memory_come_back_and_leave_no_file(
    own_state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "IN_MEMORY", 1_000)
    ids = [f"Customer {number}" for number in range(5_000)]
    with plan_of(ids, 100) as plan:
        assert open_files_below(own_state_directory)
        assert list(own_state_directory.iterdir()) == []
        order = random.Random(1).sample(range(50), 50)
        for number in order:
            batch = plan[number]
            assert (batch.before, batch.count) == (100 * number, 100)
            assert json.loads(batch.content) == ids[100 * number : 100 * number + 100]
            assert [json.loads(bytes(row)) for row in batch.rows()] == json.loads(batch.content)
        assert plan[0].count == 100
        plan.append(Batch({}, 5_000, 1, b'["late"]'))
        assert (plan[50].content, plan[1].count, plan.rows) == (b'["late"]', 100, 5_001)
    assert not open_files_below(own_state_directory)


def open_files_below(directory: Path) -> list[str]:
    """The files that this process has open there, deleted ones too."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(descriptor))
    return [path for path in found if path.startswith(str(directory))]


def test_small_plans_never_touch_the_disk(own_state_directory: Path) -> None:
    with plan_of([f"C{number}" for number in range(100_000)], 50_000, 2_000):
        assert not open_files_below(own_state_directory)


class Interrupted(BaseException):
    """The task is ended."""


@pytest.mark.parametrize("ends_with", [None, Interrupted(), OSError("cut off")], ids=str)
def test_the_file_is_closed_when_planning_fails(
    ends_with: BaseException | None, own_state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "IN_MEMORY", 10)
    opened = []

    def rows() -> Iterator[Stretch]:
        yield Objects([f"C{number}" for number in range(300)])
        opened.extend(open_files_below(own_state_directory))
        if ends_with is not None:
            raise ends_with
        yield Objects([None])

    with pytest.raises(type(ends_with) if ends_with else OptimoveInputError) as caught:
        plan_batches(PREFERENCE, rows(), RowChecker(row_shape(PREFERENCE)), 100)
    assert opened
    del caught
    assert not open_files_below(own_state_directory)


def peak_of(planning: Callable[[], Plan]) -> tuple[Plan, int]:
    tracemalloc.start()
    try:
        return planning(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_million_rows_take_little_memory() -> None:
    def ids() -> Iterator[Stretch]:
        for start in range(0, 1_000_000, 2_000):
            yield Objects([f"C{number:09}" for number in range(start, start + 2_000)])

    plan, peak = peak_of(lambda: plan_batches(PREFERENCE, ids(), RowChecker(row_shape(PREFERENCE)), 50_000))
    with plan:
        assert (plan.rows, len(plan)) == (1_000_000, 20)
    assert peak < 60e6


def test_rows_that_wait_take_little_more_than_their_text() -> None:
    fields = {name: [str(value)] * 500 for name, value in interaction(0, "").items()}
    fields["CampaignID"] = [str(number) for number in range(500)]

    def tables() -> Iterator[Stretch]:
        for start in range(0, 200_000, 500):
            columns = {**fields, "CustomerID": [f"C{number:09}" for number in range(start, start + 500)]}
            yield Table(tuple(columns), list(columns.values()), text=True)

    plan, peak = peak_of(lambda: plan_batches(INTERACTIONS, tables(), grouping(), 50_000))
    with plan:
        assert (plan.rows, len(plan)) == (200_000, 500)
    # 13 bytes a row wait, and as many are in the plan at the end.
    assert peak < 7e6
