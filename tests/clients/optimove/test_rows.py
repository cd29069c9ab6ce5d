"""Rows of a write: the fast way says the same as a look at each row by itself."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import random
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_optimove.clients.optimove import rows as rows_module
from airflow_provider_optimove.clients.optimove.batching import plan_batches, row_numbers
from airflow_provider_optimove.clients.optimove.functions import Function, Parameter, catalogue
from airflow_provider_optimove.clients.optimove.functions.types import (
    Boolean,
    CalendarDate,
    Format,
    Integer,
    Rows,
    Text,
    UtcTime,
)
from airflow_provider_optimove.clients.optimove.rows import (
    BadColumns,
    BadRows,
    Grouping,
    Objects,
    RowChecker,
    RowShape,
    Stretch,
    Table,
    Unreadable,
    row_shape,
)
from airflow_provider_optimove.clients.optimove.values import Unfit, row_check, value_check
from airflow_provider_optimove.exceptions import OptimoveInputError

WRITES = [name for name, declared in catalogue().items() if declared.rows]
INTERACTIONS = catalogue()["UpdateCampaignInteractions"]
INTERACTION = {
    "CampaignID": 1,
    "ChannelID": 15,
    "InteractionDate": "2026-11-20",
    "TemplateID": 8,
    "EventID": 2,
    "CustomerID": "A1",
}


class SomeText(str):
    """Text of another library."""


class Code(str, enum.Enum):  # noqa: UP042 - str() of a StrEnum is no trap
    """Text that has a name."""

    WELCOME = "WB23"


class Number(enum.IntEnum):
    """A number that has a name."""

    ONE = 1


class NumpyLike:
    """A number of another library."""

    def __index__(self) -> int:
        return 7


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


CET = datetime.timezone(datetime.timedelta(hours=1))
HUGE = 10**5000
HALF = "A\ud83d"
ODD: list[Any] = [
    *(None, True, False, 1.0, 0.0, -0.5, float("nan"), float("inf"), decimal.Decimal(1), UUID(int=1), 1j),
    *([], [1], {}, {"a": 1}, (), b"1", bytearray(b"1"), int, object(), nested(900), Unreadable("why")),
    *(
        HUGE,
        -HUGE,
        [HUGE],
        "9" * 5000,
        2**63,
        2**64,
        -1,
        "-1",
        "-0",
        "",
        " ",
        "\n\t",
        "\x1f",
        HALF,
        "\udc00\ud800",
        "\0",
    ),
    *("1.0", "1e3", "0x1", "1_0", "\u0663", "\uff11", "1 0", "nan", "null", "yes", "t", "on", "2", "true,", "seen"),
    *(datetime.date(2026, 11, 20), datetime.datetime(2026, 11, 20, tzinfo=CET), "2026-02-30", "20261120", "2026-W47"),
    *(
        "[",
        "[" * 100_000,
        '["\\ud800"]',
        '[{"Tag": "\ud800", "Value": ""}]',
        '{"Tag": "a", "Value": "b"}',
        '[{"Tag": "a"}]',
    ),
]
ACCEPTED: dict[type, list[Any]] = {
    Text: [
        "A8272",
        "x y",
        " A1 ",
        "\xfc",
        "0",
        "true",
        17,
        0,
        -5,
        10**30,
        SomeText("A9"),
        Code.WELCOME,
        Number.ONE,
        NumpyLike(),
    ],
    Integer: [
        0,
        221,
        2**63 - 1,
        "221",
        " 7\n",
        "+9",
        "007",
        "0" * 29 + "1",
        "\x1f8",
        Number.ONE,
        NumpyLike(),
        SomeText("5"),
    ],
    Boolean: [True, False, 1, 0, "true", "false", "True", "FALSE", " tRuE ", "1", "0", Number.ONE],
    Rows: [
        *([], [{"Tag": "a", "Value": ""}], ({"TAG": "a", "value": "b"}, {"Value": "d", "Tag": 3}), "[]"),
        *('[{"Tag": "a", "Value": "\\u00fc"}]', ' [{"tag": "a", "value": ""}] '),
    ],
    CalendarDate: [
        "2026-11-20",
        " 2026-11-20 ",
        datetime.date(2026, 11, 20),
        datetime.datetime(2026, 11, 21, 0, 30, tzinfo=CET),
    ],
}
EVENTS = ["opened", " Opened ", "CLICKED", 2, "2", 9]


def accepted_forms(field: Parameter) -> list[Any]:
    if isinstance(field.format, Integer) and field.format.names:
        return EVENTS
    return ACCEPTED[type(field.format)]


def as_sent(shape: RowShape, text: bool, row: Any) -> Any:
    """One row as row_check and value_check have it: what the fast way must come to as well."""
    if isinstance(row, Unreadable):
        raise Unfit(row.reason)
    if not isinstance(row, Mapping) and shape.sole:
        value = value_check(shape.fields[shape.sole].format)(row)
        return value if shape.bare else {shape.sole: value}
    if isinstance(row, Mapping):
        if any(str(name).lower() == other.lower() for name in row for other in shape.elsewhere):
            raise Unfit("elsewhere")
        given = row.items()
        row = [(name, value) for name, value in given if not text or value != ""]
        if shape.bare:
            row = [(name, value) for name, value in row if str(name).lower() == str(shape.sole).lower()]
        row = {name: from_json(value) if str(name).lower() == "personalizations" else value for name, value in row}
    checked = row_check(shape.fields)(row)
    return checked[str(shape.sole)] if shape.bare else checked


def from_json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def canonical(rows: Iterable[Any]) -> list[str]:
    """Tells 1 from True and 1.0, and not one order of keys from another."""
    return [json.dumps(row, sort_keys=True) for row in rows]


def planned(function: Function, stretches: Sequence[Stretch], size: int = 3) -> list[str] | list[int]:
    """The rows as they are sent, or the numbers of those that are refused."""
    try:
        with plan_batches(function, stretches, RowChecker(row_shape(function)), size) as plan:
            return canonical(row for batch in plan for row in json.loads(batch.content))  # type: ignore[attr-defined]
    except OptimoveInputError as error:
        return [int(re.match(r"row (\d+): .", problem)[1]) for problem in error.problems]  # type: ignore[index]


def each_by_itself(shape: RowShape, stretches: Iterable[Stretch]) -> list[str] | list[int]:
    """The same, found out in the slow way."""
    sent: list[Any] = []
    refused: list[int] = []
    number = 0
    for stretch in stretches:
        if isinstance(stretch, Table):
            rows: Iterable[Any] = (
                dict(zip(stretch.names, row, strict=True)) for row in zip(*stretch.columns, strict=True)
            )
        else:
            rows = stretch.rows
        for row in rows:
            number += 1
            try:
                sent.append(as_sent(shape, isinstance(stretch, Table) and stretch.text, row))
            except Unfit:
                refused.append(number)
    return refused or canonical(sent)


def in_some_case(name: str, chance: random.Random) -> str:
    return chance.choice([name, name, name.lower(), name.upper(), name.swapcase()])


class RowMaker:
    """Random rows of a shape.

    :param shape: of which shape.
    :param chance: where chance comes from.
    :param oddity: how likely something odd is, each time.
    """

    def __init__(self, shape: RowShape, chance: random.Random, oddity: float) -> None:
        self.shape = shape
        self.chance = chance
        self.oddity = oddity

    def odd(self) -> bool:
        return self.chance.random() < self.oddity

    def fields(self) -> list[Parameter]:
        fields = [f for f in self.shape.fields.values() if f.required or self.chance.random() < 0.5]
        return self.chance.sample(fields, len(fields))

    def values(self, field: Parameter, count: int, text: bool = False) -> list[Any]:
        """A column: of one type mostly."""
        forms, odd = accepted_forms(field), ODD
        if text:
            forms = [form for form in forms if type(form) is str]
            odd = [value for value in ODD if type(value) is str]
        if self.chance.random() < 0.7:
            of_type = type(self.chance.choice(forms))
            forms = [form for form in forms if type(form) is of_type]
        forms = forms if field.required or self.chance.random() < 0.5 else [*forms, "" if text else None]
        return [self.chance.choice(odd if self.odd() else forms) for _ in range(count)]

    def table(self, text: bool) -> Table:
        fields = self.fields()
        count = self.chance.randrange(1, 6)
        names = tuple(in_some_case(field.name, self.chance) for field in fields)
        columns = [self.values(field, count, text) for field in fields]
        if self.shape.bare and self.chance.random() < 0.5:
            names, columns = (*names, "Note", "note"), [*columns, ["x"] * count, ["y"] * count]
        return Table(names, columns, text)

    def objects(self, kind: Callable[[dict[str, Any]], Any] = dict) -> Objects:
        table = self.table(text=False)
        rows: list[Any] = [dict(zip(table.names, row, strict=True)) for row in zip(*table.columns, strict=True)]
        for position, row in enumerate(rows):
            if self.odd():
                row = dict(self.chance.sample(list(row.items()), len(row)))
            if self.odd():
                row = self.with_odd_keys(row)
            rows[position] = kind(row)
            if self.odd():
                rows[position] = self.chance.choice(
                    [*ODD, *"ab", "abc", "A1", (), OrderedDict(row), defaultdict(int, row)]
                )
        return Objects(rows)

    def with_odd_keys(self, row: dict[str, Any]) -> dict[Any, Any]:
        items = list(row.items())
        name, value = self.chance.choice(items)
        changes: list[list[tuple[Any, Any]]] = [
            [item for item in items if item[0] != name],
            [*items, (name.swapcase(), value)],
            [*items, ("Colour", "red")],
            [*items, (1, 2)],
            [("Colour" if key == name else key, value) for key, value in items],
            *([*items, (in_some_case(other, self.chance), 1)] for other in self.shape.elsewhere),
            *([*items[:-1], (other, 1)] for other in self.shape.elsewhere),
        ]
        return dict(self.chance.choice(changes))

    def bare(self) -> Objects:
        (field,) = self.shape.fields.values()
        rows = self.values(field, self.chance.randrange(1, 6))
        return Objects([{field.name: row} if self.odd() else row for row in rows])


WAYS: dict[str, Callable[[RowMaker], Stretch]] = {
    "objects": RowMaker.objects,
    "other mappings": partial(RowMaker.objects, kind=MappingProxyType),
    "table": partial(RowMaker.table, text=False),
    "table of text": partial(RowMaker.table, text=True),
    "bare values": RowMaker.bare,
}


SOLE = {name for name in WRITES if row_shape(catalogue()[name]).sole}


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in WRITES for way in WAYS if way != "bare values" or name in SOLE]
)
def test_the_fast_way_says_what_a_look_at_each_row_says(name: str, way: str) -> None:
    function = catalogue()[name]
    shape = row_shape(function)
    chance = random.Random(f"{name} {way}")
    refused = 0
    for oddity in [0.0] * 30 + [0.02] * 100 + [0.1] * 100:
        maker = RowMaker(shape, chance, oddity)
        # No more rows than an error shows.
        stretches = [WAYS[way](maker) for _ in range(chance.randrange(1, 5))]
        result = planned(function, stretches)
        assert result == each_by_itself(shape, stretches)
        refused += isinstance(result[0], int)
        assert oddity or not refused
    assert 5 < refused < 190


@pytest.mark.parametrize("text", [False, True], ids=["typed", "text"])
@pytest.mark.parametrize("name", WRITES)
def test_every_odd_value_in_every_field(name: str, text: bool) -> None:
    function = catalogue()[name]
    shape = row_shape(function)
    forms = {f.name: [v for v in accepted_forms(f) if type(v) is str or not text] for f in shape.fields.values()}
    good = {field: values[0] for field, values in forms.items()}
    for field in good:
        for value in [*ODD, *forms[field]]:
            if text and type(value) is not str:
                continue
            rows = [good, {**good, field: value}, good]
            table = Table(tuple(good), list(zip(*(row.values() for row in rows), strict=True)), text)
            expected = each_by_itself(shape, [table])
            assert planned(function, [table]) == expected
            if not text:
                assert planned(function, [Objects(rows)]) == expected
            if shape.sole and not text and not isinstance(value, Mapping):
                bare = Objects(["A1", value, "A3"])
                assert planned(function, [bare]) == each_by_itself(shape, [bare])


def usual_stretches(shape: RowShape) -> list[Stretch]:
    usual: dict[type[Format], list[Any]] = {
        Text: ["A1", "A2", "A3"],
        Integer: [1, 2, 3],
        Boolean: [True, False, True],
        Rows: [[{"Tag": "a", "Value": "b"}], [], []],
    }
    all_columns = {field.name: usual[type(field.format)] for field in shape.fields.values()}
    stretches: list[Stretch] = []
    for columns in (all_columns, {n: c for n, c in all_columns.items() if shape.fields[n].required}):
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        words = [[json.dumps(v) if not isinstance(v, str) else v for v in column] for column in columns.values()]
        stretches += [
            *(Objects(rows), Objects([{name.lower(): row[name] for name in reversed(row)} for row in rows])),
            *(Table(tuple(columns), list(columns.values())), Table(tuple(columns), words, text=True)),
        ]
    for name, field in shape.fields.items():
        if not field.required:
            stretches.append(Objects([{**row, name: None} for row in rows]))
            stretches.append(Table((*columns, name), [*columns.values(), [None, all_columns[name][1], None]]))
            stretches.append(Table((*columns, name), [*words, ["", "", ""]], text=True))
    if shape.sole:
        stretches += [Objects(["A1", "A2"]), Objects([1, 2]), Objects(["A1", 2]), Objects(("A1", "A2"))]
    if shape.bare:
        stretches += [Objects([{"CustomerID": "A1", "Note": 1}, {"CustomerID": "A2", "Other": 1, "Third": 2}])]
    return stretches


@pytest.mark.parametrize("name", WRITES)
def test_usual_rows_take_the_fast_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = catalogue()[name]
    stretches = usual_stretches(row_shape(function))
    expected = each_by_itself(row_shape(function), stretches)
    monkeypatch.setattr(rows_module, "_one_by_one", None)
    assert planned(function, stretches) == expected
    assert isinstance(expected[0], str)


def test_interactions_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    columns: dict[str, list[Any]] = {name: [value] * 2 for name, value in INTERACTION.items()}
    columns["CustomerID"] = ["A1", "A2"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    today = {**columns, "InteractionDate": [datetime.date(2026, 11, 20)] * 2}
    stretches: list[Stretch] = [
        *(Objects(rows), Objects([{**row, "AppID": None} for row in rows])),
        *(
            Table(tuple(columns), list(columns.values())),
            Table(tuple(columns), list(today.values())),
        ),
        Table((*columns, "AppID"), [*([str(v) for v in column] for column in columns.values()), ["", ""]], text=True),
    ]
    monkeypatch.setattr(rows_module, "_one_by_one", None)
    checker = interactions()
    for stretch in stretches:
        checker.take(stretch)
    assert taken(checker) == {INTERACTIONS_SHARED: ["A1", "A2"] * len(stretches)}


def interactions(*given: str) -> Grouping:
    """What checks rows of interactions, except for the fields that are arguments."""
    (value,) = row_shape(INTERACTIONS).fields.values()
    others = {p.name: p for p in INTERACTIONS.parameters_beside_rows}
    return Grouping(value, {name: p for name, p in others.items() if name not in given}, elsewhere=given)


def refused_by(checker: Grouping, stretch: Stretch) -> list[int]:
    """The numbers of the rows that are refused; without any, the stretch is taken."""
    try:
        checker.take(stretch)
    except BadRows as bad:
        return [position + 1 for position, _ in bad.problems]
    return []


def taken(checker: Grouping) -> dict[str, list[Any]]:
    return {json.dumps(dict(shared)): values for shared, values in checker.taken.items() if values}


INTERACTIONS_SHARED = json.dumps({name: INTERACTION[name] for name in INTERACTION if name != "CustomerID"})


@pytest.mark.parametrize("way", [way for way in WAYS if way != "bare values"])
def test_interactions_are_grouped_as_each_row_by_itself_says(way: str) -> None:
    (value,) = row_shape(INTERACTIONS).fields.values()
    others = {p.name: p for p in INTERACTIONS.parameters_beside_rows}
    shape = RowShape({value.name: value, **others})
    chance = random.Random(way)
    good = bad = 0
    checker = interactions()
    expected: dict[str, list[Any]] = {}
    for oddity in [0.0] * 100 + [0.03] * 300:
        stretch = WAYS[way](RowMaker(shape, chance, oddity))
        rows = each_by_itself(shape, [stretch])
        if refused := refused_by(checker, stretch):
            assert refused == rows
            bad += 1
        else:
            good += 1
            for row in map(json.loads, rows):  # type: ignore[arg-type]
                shared = {name: row[name] for name in others if name in row}
                expected.setdefault(json.dumps(shared), []).append(row["CustomerID"])
        assert oddity or not bad
    assert taken(checker) == expected
    assert good > 130
    assert bad > 100


ONE_AND_ITS_LIKES = [1, True, 1.0, decimal.Decimal(1), "1", Number.ONE, SomeText("1"), UUID(int=1)]


@pytest.mark.parametrize("field", ["CampaignID", "AppID", "EventID"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one stretch", "in several"])
def test_what_equals_a_known_combination_is_checked_all_the_same(field: str, apart: bool) -> None:
    for first in (1, "1", Number.ONE):
        for second in ONE_AND_ITS_LIKES:
            rows = [{**INTERACTION, "AppID": "1", field: value} for value in (first, second)]
            # Beside an equal number it is taken for that, which does no harm and saves to look at every row.
            hidden = not apart and type(first) is int and second == first
            refused = isinstance(second, (bool, float, decimal.Decimal, UUID)) and not hidden
            for kind in (Objects, as_table):
                checker = interactions()
                stretches = [kind([row]) for row in rows] if apart else [kind(rows)]
                refusals = list(chain.from_iterable(refused_by(checker, stretch) for stretch in stretches))
                assert len(refusals) == refused
                expected = 1 if refused and apart else 0 if refused else 2
                assert [len(values) for values in taken(checker).values()] == [expected] * bool(expected)


def as_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(tuple(rows[0]), list(zip(*(row.values() for row in rows), strict=True)))


def test_equal_times_of_two_zones_are_two_days() -> None:
    early = datetime.datetime(2026, 11, 20, 23, 30, tzinfo=datetime.UTC)
    checker = interactions()
    checker.take(Objects([{**INTERACTION, "InteractionDate": day} for day in (early, early.astimezone(CET))]))
    assert [json.loads(shared)["InteractionDate"] for shared in taken(checker)] == ["2026-11-20", "2026-11-21"]


def test_one_combination_written_in_many_ways_is_one_group() -> None:
    ways: dict[str, list[Any]] = {
        "CampaignID": [221, "221", " 221", Number(1) + 220],
        "EventID": ["opened", 2, "2", " OPENED"],
        "InteractionDate": ["2026-11-20", datetime.date(2026, 11, 20), datetime.datetime(2026, 11, 20, 23, 59)],
        "AppID": ["7", 7],
    }
    rows = [
        {**INTERACTION, "AppID": 7, "CampaignID": 221, field: way} for field, values in ways.items() for way in values
    ]
    checker = interactions()
    for row in rows:
        checker.take(Objects([row, {name.lower(): value for name, value in reversed(row.items())}]))
    assert [len(values) for values in taken(checker).values()] == [2 * len(rows)]


def test_no_optional_field_is_one_group_however_it_is_left_out() -> None:
    checker = interactions()
    checker.take(
        Objects([INTERACTION, {**INTERACTION, "AppID": None}, {**INTERACTION, "appid": None, "recipientgroupid": None}])
    )
    checker.take(Objects([INTERACTION]))
    checker.take(Table((*INTERACTION, "AppID"), [*([str(value)] for value in INTERACTION.values()), [""]], text=True))
    assert taken(checker) == {INTERACTIONS_SHARED: ["A1"] * 5}


def test_rows_need_not_bring_any_of_the_optional_fields_that_are_left() -> None:
    checker = interactions(*(name for name in INTERACTION if name != "CustomerID"))
    checker.take(Objects([{"CustomerID": "A1"}, {"CustomerID": "A2"}]))
    checker.take(Table(("customerid",), [["A3"]], text=True))
    checker.take(Objects([{"CustomerID": "A4"}, {"CustomerID": "A5", "AppID": "x"}]))
    assert taken(checker) == {"{}": ["A1", "A2", "A3", "A4"], '{"AppID": "x"}': ["A5"]}


@pytest.mark.parametrize(
    "middle",
    [
        {"Colour" if name == "AppID" else name: value for name, value in {**INTERACTION, "AppID": "x"}.items()},
        {**INTERACTION, "AppID": []},
        {**INTERACTION, "AppID": True},
        {**INTERACTION, "AppID": " "},
        {**INTERACTION, "AppID": "x", "EventID": "seen"},
        {**INTERACTION, "AppID": "x", "CustomerID": None},
        Unreadable("not valid JSON"),
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("position", [0, 1, 4])
def test_nothing_of_a_bad_stretch_is_taken(middle: Any, position: int) -> None:
    good = [{**INTERACTION, "AppID": f"x{number % 2}", "CustomerID": f"A{number}"} for number in range(4)]
    checker = interactions()
    checker.take(Objects(good[:2]))
    before = json.loads(json.dumps(taken(checker)))
    with pytest.raises(BadRows) as caught:
        checker.take(Objects([*good[:position], middle, *good[position:]]))
    assert [number for number, _ in caught.value.problems] == [position]
    assert taken(checker) == before
    checker.take(Objects(good[2:]))
    assert sorted(chain.from_iterable(taken(checker).values())) == ["A0", "A1", "A2", "A3"]


@pytest.mark.parametrize("written", ["CampaignID", "campaignid", "CAMPAIGNID"])
def test_an_argument_is_no_field_of_interactions(written: str) -> None:
    row = {written: 1, **{name: value for name, value in INTERACTION.items() if name != "CampaignID"}}
    expected = f"'{written}': this is an argument of its own and not a field of the rows"
    with pytest.raises(BadRows) as rows:
        interactions("CampaignID").take(Objects([row]))
    assert rows.value.problems == [(0, expected)]
    with pytest.raises(BadColumns) as columns:
        interactions("CampaignID").take(as_table([row]))
    assert columns.value.problems == [expected]


def test_many_combinations_are_forgotten_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MOST_COMBINATIONS", 10)
    checker = interactions()
    collected: dict[str, list[Any]] = {}
    for number in range(200):
        way = " " * (number // 40) + str(number % 20)
        checker.take(Objects([{**INTERACTION, "CampaignID": way, "CustomerID": number}]))
        assert len(checker.taken) <= 11
        for shared, values in taken(checker).items():
            collected.setdefault(shared, []).extend(values)
        for rows in checker.taken.values():
            rows.clear()
    assert [list(map(int, values)) for values in collected.values()] == [list(range(n, 200, 20)) for n in range(20)]


PREFERENCE = catalogue()["SetCustomerChannelPreference"]


@pytest.mark.parametrize(
    "rows",
    [
        [{"CustomerID": "A1", "Note": 1}, {"CustomerID": "A2", "ChannelID": 1}],
        [{"CustomerID": "A1"}, {"CustomerID": "A2", "channelid": 1}],
        [{"CustomerID": "A1", "Note": 1}, {"COMMUNICATIONMODE": 1, "CustomerID": "A2"}],
        [{"CustomerID": "A1", "Note": 1}, {"CustomerID": "A2", "AppID": None}],
        [{"CustomerID": "A1", "Note": 1}, {"CustomerID": "A2", "customerid": "A2"}],
        [{"CustomerID": "A1", "Note": 1}, {"Customer": "A2", "Note": 1}],
    ],
    ids=str,
)
def test_customers_may_bring_other_columns_but_no_other_argument(rows: list[Any]) -> None:
    assert planned(PREFERENCE, [Objects(rows)]) == [2]
    assert planned(PREFERENCE, [Objects(rows[:1])]) == ['"A1"']
    assert planned(PREFERENCE, [Objects([*rows[:1], "A3", {1: 2, "CUSTOMERID": 4}])]) == ['"A1"', '"A3"', '"4"']
    assert planned(PREFERENCE, [Objects([{1: 2, "CUSTOMERID": 4}])]) == ['"4"']


@pytest.mark.parametrize("name", [name for name in WRITES if row_shape(catalogue()[name]).bare])
def test_columns_named_like_the_other_arguments(name: str) -> None:
    function = catalogue()[name]
    others = {p.name for p in function.parameters_beside_rows}
    assert set(row_shape(function).elsewhere) == others
    for other in others:
        with pytest.raises(OptimoveInputError) as caught:
            plan_batches(
                function,
                [Table(("CustomerID", other.lower()), [["A1"], [""]], True)],
                RowChecker(row_shape(function)),
                9,
            )
        assert caught.value.problems == (
            f"'{other.lower()}': this is an argument of its own and not a field of the rows",
        )


def test_codes_of_promotions_stand_alone_or_in_rows() -> None:
    function = catalogue()["DeletePromotions"]
    assert planned(
        function, [Objects(["WB23", 5]), Objects([{"promocode": "WB24"}]), Objects(["WB25", {"PromoCode": "WB26"}])]
    ) == [f'{{"PromoCode": "{code}"}}' for code in ("WB23", "5", "WB24", "WB25", "WB26")]
    assert planned(function, [Objects([{"PromoCode": "WB23", "PromotionName": "x"}])]) == [1]


@pytest.mark.parametrize("first", [{"CustomerID": "A1"}, {"CustomerID": "A1", "Note": "x"}])
def test_a_row_that_makes_up_values_is_left_as_it_is(first: dict[str, Any]) -> None:
    makes_up: defaultdict[str, Any] = defaultdict(int, {"customerid": "A2", **dict.fromkeys(list(first)[1:], 1)})
    before = dict(makes_up)
    assert planned(PREFERENCE, [Objects([first, makes_up])]) == ['"A1"', '"A2"']
    assert dict(makes_up) == before
    promotions: list[Any] = [
        {"PromoCode": "A", "PromotionName": "B"},
        defaultdict(int, promocode="C", promotionname="D"),
    ]
    assert planned(catalogue()["AddPromotions"], [Objects(promotions)]) == [
        '{"PromoCode": "A", "PromotionName": "B"}',
        '{"PromoCode": "C", "PromotionName": "D"}',
    ]


def test_the_rows_that_are_given_stay_as_they_are() -> None:
    ids = ["A1", 2, SomeText("A3")]
    rows = [{"CustomerID": value, "Status": 1} for value in ids]
    mails = [{"Email": "v@example.com", "personalizations": [{"tag": "a", "Value": ""}]}]
    copies = [list(ids), [dict(row) for row in rows], json.loads(json.dumps(mails))]
    planned(PREFERENCE, [Objects(ids)], size=1)
    planned(catalogue()["UpdateCustomerPromotionStatus"], [Objects(rows)], size=1)
    planned(catalogue()["SendTransactionalMail"], [Objects(mails)], size=1)
    assert [ids, rows, mails] == copies
    assert list(map(type, ids)) == [str, int, SomeText]


def test_fields_stand_in_one_order_whatever_that_of_the_input() -> None:
    function = catalogue()["AddPromotions"]
    rows = [
        {"PromoCode": "A", "PromotionName": "B"},
        {"promotionname": "B", "PromoCode": "A"},
        {"PROMOTIONNAME": "B", "PROMOCODE": "A"},
    ]
    contents = set()
    for stretches in ([Objects([row]) for row in rows], [Objects(rows)], [Objects([row, row]) for row in rows]):
        with plan_batches(function, stretches, RowChecker(row_shape(function)), 1) as plan:
            contents |= {plan[number].content for number in range(len(plan))}
    assert contents == {b'[{"PromoCode":"A","PromotionName":"B"}]'}


COLUMNS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "missing": (("TemplateID",), ["TemplateName: no such column; the columns are 'TemplateID'"]),
    "unknown": (
        ("TemplateID", "TemplateName", "Colour"),
        ["'Colour': no such field (fields are TemplateID, TemplateName, AppID)"],
    ),
    "twice": (("TemplateID", "TemplateName", "templateid"), ["TemplateID: given twice"]),
    "all of it": (
        ("appid", "Colour", "Size", "AppID"),
        [
            "TemplateID: no such column; the columns are 'appid', 'Colour', 'Size', 'AppID'",
            "TemplateName: no such column; the columns are 'appid', 'Colour', 'Size', 'AppID'",
            "'Colour': no such field (fields are TemplateID, TemplateName, AppID)",
            "'Size': no such field (fields are TemplateID, TemplateName, AppID)",
            "AppID: given twice",
        ],
    ),
}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(("names", "problems"), COLUMNS.values(), ids=COLUMNS)
def test_columns_are_named_once_and_not_for_each_row(names: tuple[str, ...], problems: list[str], text: bool) -> None:
    function = catalogue()["AddChannelTemplates"]
    stretches = [Table(names, [["1"] * 500] * len(names), text)] * 3
    with pytest.raises(OptimoveInputError) as caught:
        plan_batches(function, stretches, RowChecker(row_shape(function)), 100, source="templates")
    assert caught.value.problems == tuple(problems)
    assert str(caught.value).splitlines()[0].endswith("the columns of templates do not fit")
    assert caught.value.function == "AddChannelTemplates"


def test_what_cannot_be_shown_is_named_all_the_same() -> None:
    for value in (HUGE, [HUGE], {"a": HUGE}):
        with pytest.raises(BadRows) as caught:
            RowChecker(row_shape(PREFERENCE)).take(Objects(["A1", {"CustomerID": value}]))
        ((position, problem),) = caught.value.problems
        assert position == 1
        assert problem == f"CustomerID: expected text, got {type(value).__name__} of a size that cannot be shown"


# No row of today has such fields; a declaration of tomorrow may.
OTHER_FORMATS: list[tuple[Format, list[Any], list[Any]]] = [
    (Text(choices=(",", ";")), [",", ";"], ["|", "", 1, True, [], None]),
    (Text(maximum_length=3), ["abc", 123], ["abcd", 1234, "\ud800"]),
    (Text(minimum_length=0), ["", " ", "a"], [None, True, HALF]),
    (Integer(1, 2), [1, "2"], [0, 3, True, 1.0, "1.0"]),
    (Integer(names=(("opened", 2),)), ["opened", 2, "2"], [True, 2.0, "seen", []]),
    (Integer(-1, refused=((-1, "why"),)), [0, "5"], [-1, "-1", False]),
    (Integer(minimum=-5), [-5, "-5", 3], [-6, "-6", "--1"]),
    (CalendarDate(), ["2026-11-20", datetime.date(2026, 11, 20)], [1, "2026-02-30", None]),
    (UtcTime(), ["2026-11-20 09:33:00"], ["2026-11-20", 1, None]),
]


@pytest.mark.parametrize(("expected", "good", "bad"), OTHER_FORMATS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("required", [True, False])
def test_fields_of_any_format(expected: Format, good: list[Any], bad: list[Any], required: bool) -> None:
    fields = {"Key": Parameter("Key", "key", Text(), True), "It": Parameter("It", "it", expected, required)}
    check = value_check(expected)
    for number, value in enumerate(good + bad):
        stretch = Objects([{"Key": "A", "It": other} for other in (good[0], value, good[0])])
        checker = RowChecker(RowShape(fields))
        if number < len(good) or (value is None and not required):
            checker.take(stretch)
            assert checker.taken[()][1].It == (None if value is None else check(value))
        else:
            with pytest.raises(BadRows) as caught:
                checker.take(stretch)
            assert [position for position, _ in caught.value.problems] == [1]


def test_numbers_of_rows_that_have_nothing_in_common_but_their_call() -> None:
    stretches = [
        Objects([{"CustomerID": f"A{n}"} | ({"AppID": "x"} if n % 3 else {}) for n in range(start, start + 5)])
        for start in (0, 5)
    ]
    checker = interactions(*(name for name in INTERACTION if name != "CustomerID"))
    with plan_batches(INTERACTIONS, stretches, checker, 3) as plan:
        for number in range(len(plan)):
            batch = plan[number]
            ids = [f"A{n - 1}" for n in row_numbers(batch, stretches, checker) or []]
            assert ids == json.loads(batch.content)
        assert sorted(plan[number].count for number in range(len(plan))) == [1, 3, 3, 3]


@pytest.mark.parametrize("kind", [Objects, as_table])
def test_rows_stay_in_their_order_however_their_combination_is_written(kind: Any) -> None:
    ways: list[Any] = [2, "opened", 2, "2", "opened", " 2"]
    checker = interactions()
    checker.take(kind([{**INTERACTION, "CustomerID": f"C{n}", "EventID": ways[n % 6]} for n in range(24)]))
    assert list(taken(checker).values()) == [[f"C{n}" for n in range(24)]]
