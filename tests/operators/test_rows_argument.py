"""Ids of customers, in whatever they are given: lists, rows, files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.operators import rows_argument
from airflow_provider_optimove.operators.rows_argument import RowsField, check_paths, ids_of, stretches_of


class Holder:
    user_ids = RowsField()


def ids(value: Any, id_field: str = "user_id") -> list[str]:
    holder = Holder()
    holder.user_ids = value
    stretches = stretches_of("user_ids", holder.user_ids, function="opt_in")
    found = ids_of(stretches, id_field, source="user_ids", function="opt_in")
    # A second look, as after a crash, finds the same.
    assert ids_of(stretches, id_field, source="user_ids", function="opt_in") == found
    return found


@pytest.mark.parametrize(
    "rows",
    [
        ["a", "b", "7"],
        ("a", "b", 7),
        [{"user_id": "a"}, {"user_id": "b"}, {"user_id": 7}],
        [{"UserID": "a", "Name": "A"}, {"USER_ID": "b"}, {"userId": "7", "Name": None}],
        ["a", {"user_id": "b"}, 7],
    ],
)
def test_lists(rows: Any) -> None:
    assert ids(rows) == ["a", "b", "7"]


def test_a_field_that_is_written_together() -> None:
    assert ids([{"user_id": "a"}, {"USERID": "b"}], "UserID") == ["a", "b"]


def test_lists_of_several_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_argument, "STRETCH", 2)
    assert ids(["a", "b", "c", "d", "e"]) == ["a", "b", "c", "d", "e"]
    with pytest.raises(OptimoveInputError) as raised:
        ids(["a", "b", "c", None, {"user_id": ""}])
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["row 4", "row 5"]


@pytest.mark.parametrize("name", ["user_id", "UserID", "USERID"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "json", "parquet"])
def test_files(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"customers.{ending}"
    rows = [{"Country": "NO", name: "a"}, {"Country": "IL", name: "0042"}]
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        content = f"Country,{name}\nNO,a\nIL,0042\n".encode()
        path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    assert ids(str(path)) == ["a", "0042"]
    assert ids(path) == ["a", "0042"]


def test_no_rows() -> None:
    assert ids([]) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("['a', 'b']", "user_ids: expected a list of rows, got text.*render_template_as_native_obj=True"),
        ("a", "user_ids: expected a list of rows or a path that ends in .jsonl, .*, got 'a'; save spreadsheets as CSV"),
        ({"user_id": "a"}, r"got dict; in expand\(\), too, each task takes a list"),
        (7, "user_ids: expected a list of rows or the path of a file, got int"),
        (b"a", "got bytes"),
        (["a", {"external_id": "b"}], "user_ids: 1 of 2 rows is not valid\n  row 2: user_id: "),
        (["a", None, 1.5], "user_ids: 2 of 3 rows are not valid\n  row 2: .*\n  row 3: "),
    ],
)
def test_what_holds_no_ids(value: Any, said: str) -> None:
    with pytest.raises(OptimoveInputError, match=said) as raised:
        ids(value)
    assert raised.value.function == "opt_in"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("CustomerID,Name", "user_id: no such column; the columns are 'CustomerID', 'Name'"),
        ("UserID,user_id", "user_id: given twice"),
    ],
)
def test_columns_that_do_not_fit(tmp_path: Path, header: str, said: str) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(f"{header}\na,b\n")
    with pytest.raises(OptimoveInputError, match="the columns of user_ids do not fit") as raised:
        ids(str(path))
    assert raised.value.problems == (said,)


def test_the_first_bad_rows_are_named_and_all_are_counted() -> None:
    with pytest.raises(OptimoveInputError, match="30 of 31 rows are not valid") as raised:
        ids(["a", *[None] * 30])
    assert len(raised.value.problems) == 20
    assert str(raised.value).endswith("... and 10 more")


@pytest.mark.parametrize(
    ("paths", "clash"),
    [
        ({"user_ids": "{}/a.csv", "results_path": "{}/x/../a.csv"}, True),
        ({"user_ids": "file://{}/a.csv", "results_path": "{}/a.csv"}, True),
        ({"user_ids": "{}/a.csv", "results_path": "{}/b.csv"}, False),
        ({"user_ids": ["{}/a.csv"], "results_path": "{}/a.csv"}, False),
        ({"user_ids": "{}/a.csv", "results_path": None}, False),
    ],
)
def test_no_file_is_read_and_written_at_once(tmp_path: Path, paths: dict[str, Any], clash: bool) -> None:
    def placed(value: Any) -> Any:
        return value.format(tmp_path) if isinstance(value, str) else value

    given = {field: placed(value) for field, value in paths.items()}
    if not clash:
        check_paths(given, function="opt_in")
        return
    with pytest.raises(OptimoveInputError, match="user_ids, results_path: both are ") as raised:
        check_paths(given, function="opt_in")
    assert raised.value.function == "opt_in"


@pytest.mark.parametrize("rendered", ["['secret']", " [{'id': 'secret'}]", "{'id': 'secret'}", "('secret',)"])
def test_of_a_list_that_became_text_nothing_is_shown(rendered: str) -> None:
    holder = Holder()
    holder.user_ids = "{{ params.ids }}"
    assert holder.user_ids == "{{ params.ids }}"
    holder.user_ids = rendered
    assert repr(holder.user_ids) == holder.user_ids.serialize() == "text of a list or an object"
    with pytest.raises(OptimoveInputError, match=r"expected a list of rows, got text.*render_template_as_native_obj"):
        ids(holder.user_ids)


@pytest.mark.parametrize("template", ["[{{ params.id }}]", "{{ params.ids }}", "{% if x %}a{% endif %}", "[1, 2]"])
def test_text_that_is_still_to_be_rendered_is_left_as_it_is(template: str) -> None:
    holder = Holder()
    holder.user_ids = template
    assert holder.user_ids == template


@pytest.mark.parametrize(
    "path",
    ["/data/ids.csv", "{{ params.ids }}", "{# of today #}ids.csv", "(a)/ids.csv", "[b]/ids.jsonl.gz", "{c}/i.parquet"],
)
def test_a_path_is_left_as_it_is(path: str) -> None:
    holder = Holder()
    for _ in range(2):
        holder.user_ids = path
        assert holder.user_ids == path


def test_a_list_is_shown_as_a_count() -> None:
    holder = Holder()
    holder.user_ids = ["secret"]
    assert repr(holder.user_ids) == holder.user_ids.serialize() == "1 row"
