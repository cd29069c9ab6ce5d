"""What a transfer from another system gets from the base: files, counts, lineage, asset events, errors that name it."""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset, BaseHook

from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveServerError, RemoteSystemError
from airflow_provider_optimove.storage.shaping import Kind
from airflow_provider_optimove.transfers import to_object_storage
from airflow_provider_optimove.transfers.to_object_storage import Piece, Pieces, ToObjectStorageOperator, pieces_of


class BirdsToObjectStorageOperator(ToObjectStorageOperator):
    """Rows of a system that nobody has."""

    function = "birds"

    def __init__(self, *, read: Callable[[], Pieces], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.read = read

    @cached_property
    def hook(self) -> BaseHook:
        return BaseHook()

    def fields(self) -> Mapping[str, Kind]:
        return {"BirdID": "integer", "Name": "text", "Hatched": "date"}

    def source(self) -> str:
        return "birds://aviary/all"

    def pieces(self) -> Pieces:
        return self.read()


def birds(rows: Iterable[dict[str, Any]], **told: Any) -> Callable[[], Pieces]:
    def read() -> Pieces:
        yield from pieces_of(rows)
        return told

    return read


def transfer(read: Callable[[], Pieces], path: Path | str, **arguments: Any) -> Any:
    return BirdsToObjectStorageOperator(task_id="birds", read=read, path=str(path), **arguments).execute({})


ROBIN = {"BirdID": 1, "Name": "Robin", "Hatched": "2026-05-01", "Weight": Decimal("18.50")}
WREN = {"BirdID": 2, "Name": "Wren", "Song": ["tic", "tic"]}


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_in_the_file_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "birds.jsonl"
    with caplog.at_level("INFO"):
        result = transfer(birds([ROBIN, WREN], nests=1, last="0042"), file)
    # Airflow 3 writes the log of a task to its output until it is told otherwise.
    said = caplog.text + capfd.readouterr().out
    # All digits are kept.
    assert file.read_text() == (
        '{"BirdID":1,"Name":"Robin","Hatched":"2026-05-01","Weight":18.50}\n'
        '{"BirdID":2,"Name":"Wren","Song":["tic","tic"]}\n'
    )
    assert result == {"path": str(file), "rows": 2, "bytes": file.stat().st_size, "nests": 1, "last": "0042"}
    # Whole numbers are counts; the log may not know what else there is.
    assert f"birds: 2 rows, {file.stat().st_size} bytes, 1 nest, " in said
    assert f" rows/s: {file}" in said
    assert "0042" not in said


def test_documented_fields_come_first_and_others_follow(tmp_path: Path) -> None:
    file = tmp_path / "birds.csv"
    transfer(birds([ROBIN, {**WREN, "Weight": 9}]), file)
    assert read_csv(file) == [
        {"BirdID": "1", "Name": "Robin", "Hatched": "2026-05-01", "Weight": "18.50", "Song": "", "OtherFields": ""},
        {"BirdID": "2", "Name": "Wren", "Hatched": "", "Weight": "9", "Song": '["tic","tic"]', "OtherFields": ""},
    ]


def test_fields_that_come_after_the_first_piece_are_other_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_object_storage, "PIECE_BYTES", 1)
    file = tmp_path / "birds.csv"
    transfer(birds([ROBIN, WREN]), file)
    assert [row["OtherFields"] for row in read_csv(file)] == ["", '{"Song":["tic","tic"]}']


def test_columns_have_their_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "birds.parquet"
    transfer(birds([ROBIN]), file, columns=["birdid", "Hatched"], rename={"Hatched": "born"})
    schema = parquet.read_table(file).schema
    assert [(field.name, str(field.type)) for field in schema] == [("BirdID", "int64"), ("born", "date32[day]")]


def test_json_lines_need_not_be_decoded(tmp_path: Path) -> None:
    def read() -> Pieces:
        yield Piece((b'{"BirdID": 1}\n{"BirdID": 2}', b'{"BirdID": 3}'), 3)
        yield Piece((b'{"BirdID": 4}',), 1)
        return {}

    file = tmp_path / "birds.jsonl.gz"
    assert transfer(read, file)["rows"] == 4
    assert gzip.decompress(file.read_bytes()) == b'{"BirdID": 1}\n{"BirdID": 2}\n{"BirdID": 3}\n{"BirdID": 4}\n'
    transfer(read, tmp_path / "birds.csv", columns=["BirdID"])
    assert (tmp_path / "birds.csv").read_text() == "BirdID\n1\n2\n3\n4\n"


def test_all_parts_of_the_first_piece_decide_on_columns(tmp_path: Path) -> None:
    def read() -> Pieces:
        yield Piece((b'{"BirdID":1}', b'{"Song":"tic"}'), 2)
        return {}

    file = tmp_path / "birds.csv"
    transfer(read, file)
    assert file.read_text().splitlines()[0] == "BirdID,Name,Hatched,Song,OtherFields"


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_no_rows_are_a_file_too(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"birds.{ending}"
    assert transfer(birds([]), file) == {"path": str(file), "rows": 0, "bytes": file.stat().st_size}


def test_pieces_are_of_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_object_storage, "PIECE_BYTES", 20)
    pieces = list(pieces_of({"BirdID": number} for number in range(5)))
    assert [(piece.rows, sum(map(len, piece.lines))) for piece in pieces] == [(2, 25), (2, 25), (1, 12)]


def test_what_comes_next_is_read_meanwhile(tmp_path: Path) -> None:
    going_on = threading.Event()

    class LinesThatWait(tuple[bytes]):
        """Cannot be written before more is read."""

        def __iter__(self) -> Iterator[bytes]:
            assert going_on.wait(30)
            return super().__iter__()

    def read() -> Pieces:
        yield Piece(LinesThatWait((b'{"BirdID":1}',)), 1)
        going_on.set()
        yield Piece((b'{"BirdID":2}',), 1)
        return {}

    assert transfer(read, tmp_path / "birds.jsonl")["rows"] == 2


def test_an_asset_hears_of_it(tmp_path: Path) -> None:
    asset = Asset("birds")
    operator = BirdsToObjectStorageOperator(
        task_id="birds", read=birds([ROBIN], last="7"), path=str(tmp_path / "birds.csv"), outlets=[asset]
    )
    event = SimpleNamespace(extra={})
    context: Any = {"outlet_events": {asset: event}}
    result = operator.execute(context)
    assert event.extra == {"rows": 1, "bytes": result["bytes"], "last": "7"}


def test_lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compat = importlib.import_module("airflow.providers.common.compat.sdk")
    collector = type(compat.get_hook_lineage_collector()).__mro__[1]()
    monkeypatch.setattr(compat, "get_hook_lineage_collector", lambda: collector)
    transfer(birds([ROBIN]), tmp_path / "birds.csv")
    lineage = importlib.import_module("airflow.providers.common.compat.lineage.hook").get_hook_lineage_collector()
    found = lineage.collected_assets
    assert [info.asset.uri for info in found.inputs] == ["birds://aviary/all"]
    assert [info.asset.uri for info in found.outputs] == [f"file://{tmp_path}/birds.csv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": "birds.txt"}, "path: birds.txt ends in none of"),
        ({"path": 7}, "path: expected the path of a file, got int"),
        ({"columns": "BirdID"}, "columns: expected a list of names, got 'BirdID'"),
        ({"columns": "['BirdID']"}, "columns: .*, got text.*render_template_as_native_obj=True.*the list itself"),
        (
            {"rename": "{'BirdID': 'id'}"},
            "rename: .*, got text.*render_template_as_native_obj=True.*the object itself",
        ),
        ({"columns": []}, "columns names no column"),
        ({"rename": {"Colour": "c"}}, "rename names Colour"),
        ({"path": "there.csv", "overwrite": False}, "path: there.csv exists, and overwrite is false"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("precious")
    reads = []

    def read() -> Pieces:
        reads.append(1)
        yield from pieces_of([ROBIN])
        return {}

    operator = BirdsToObjectStorageOperator(task_id="birds", read=read, **{"path": "birds.csv", **arguments})
    with pytest.raises(OptimoveInputError, match=said) as raised:
        operator.execute({})
    assert raised.value.function == "birds"
    assert isinstance(raised.value, AirflowFailException)
    assert reads == []
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert (tmp_path / "there.csv").read_text() == "precious"


def test_a_wrong_format_is_told_when_the_dag_is_read() -> None:
    with pytest.raises(OptimoveInputError, match="file_format: expected None or 'jsonl'") as raised:
        BirdsToObjectStorageOperator(task_id="birds", read=birds([]), path="birds.csv", file_format="xml")
    assert raised.value.function == "birds"


@pytest.mark.parametrize("error", [OptimoveServerError("away"), OptimoveInputError("no cursor"), RuntimeError("else")])
def test_a_read_that_fails_leaves_what_was_there(tmp_path: Path, error: Exception) -> None:
    def read() -> Pieces:
        yield from pieces_of([ROBIN])
        raise error

    file = tmp_path / "birds.csv"
    file.write_text("precious")
    with pytest.raises(type(error)) as raised:
        transfer(read, file)
    assert not isinstance(raised.value, RemoteSystemError) or raised.value.function == "birds"
    assert file.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["birds.csv"]


DAG = """
import pendulum
from airflow.providers.common.compat.sdk import Asset, BaseHook, DAG
from airflow_provider_optimove.transfers.to_object_storage import ToObjectStorageOperator, pieces_of


class BirdsToObjectStorageOperator(ToObjectStorageOperator):
    function = "birds"
    hook = BaseHook()

    def fields(self):
        return {{"BirdID": "integer"}}

    def source(self):
        return "birds://aviary/all"

    def pieces(self):
        yield from pieces_of({{"BirdID": number}} for number in range(100))
        return {{"nests": 3}}


with DAG("birds", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), schedule=None):
    BirdsToObjectStorageOperator(
        task_id="one",
        path="{folder}/{{{{ task.task_id }}}}.csv",
        columns=["{{{{ 'BirdID' }}}}"],
        outlets=[Asset("birds")],
    )
    BirdsToObjectStorageOperator.partial(task_id="mapped").expand(path=["{folder}/1.csv", "{folder}/2.csv"])
"""


def test_tasks(run_dag: Callable[..., Any], asset_events: Any, tmp_path: Path) -> None:
    asset_events.expect("birds")
    run = run_dag(DAG.format(folder=tmp_path))
    assert run.state == "success"
    size = (tmp_path / "one.csv").stat().st_size
    assert json.loads(json.dumps(run.xcom("one"))) == {
        "path": f"{tmp_path}/one.csv",
        "rows": 100,
        "bytes": size,
        "nests": 3,
    }
    assert asset_events.of("birds") == [{"rows": 100, "bytes": size, "nests": 3}]
    assert [run.xcom("mapped", map_index=index)["path"] for index in (0, 1)] == [
        f"{tmp_path}/1.csv",
        f"{tmp_path}/2.csv",
    ]
