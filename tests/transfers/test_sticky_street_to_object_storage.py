"""Sticky Street's customers into files, and the id to go on from, kept from run to run by a real Airflow."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_optimove.clients.sticky_street.client import FIELDS
from airflow_provider_optimove.exceptions import OptimoveInputError, StickyStreetError
from airflow_provider_optimove.sandbox import StickyStreetSandbox
from airflow_provider_optimove.sandbox.serving import Received, Reply
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator,
)
from tests.conftest import DagRunResult
from tests.transfers.test_sticky_street_cursor import keep_in

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

ROOT = Path(__file__).parents[2]
PASSWORD = "fake/pass word+&<tests>"
KEY = "fake-access/key+for=tests"


@pytest.fixture
def sandbox(sticky_street_sandbox: StickyStreetSandbox) -> StickyStreetSandbox:
    sticky_street_sandbox.customers = 30
    return sticky_street_sandbox


def transfer(path: Path, **arguments: Any) -> Any:
    return StickyStreetCustomersToObjectStorageOperator(task_id="customers", path=str(path), **arguments).execute({})


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("output", ["XML", "JSON"])
def test_all_customers_are_in_the_file(sandbox: StickyStreetSandbox, tmp_path: Path, output: Any) -> None:
    file = tmp_path / "customers.jsonl.gz"
    result = transfer(file, output=output)
    found = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert found == [{**sandbox.customer(number), "id": str(number + 1)} for number in range(30)]
    assert result == {"path": str(file), "rows": 30, "bytes": file.stat().st_size}
    assert sandbox.calls[0].fields["output"] == output


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.parametrize("style", ["plain", "converted"])
def test_xml_and_json_make_the_same_file(
    sandbox: StickyStreetSandbox, tmp_path: Path, file_format: str, style: Any
) -> None:
    sandbox.json_style = style
    files = [tmp_path / f"{output}.{file_format}" for output in ("XML", "JSON")]
    for file in files:
        transfer(file, output=file.stem)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_columns_are_the_documents(sandbox: StickyStreetSandbox, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    transfer(file)
    found = read_csv(file)
    assert tuple(found[0]) == (*FIELDS, "id", "OtherFields")
    assert {**found[7], "OtherFields": ""} == {**sandbox.customer(7), "id": "8", "OtherFields": ""}
    sandbox.customers = 0
    assert transfer(file)["rows"] == 0
    assert file.read_text() == ",".join((*FIELDS, "OtherFields")) + "\n"
    sandbox.customers = 2
    transfer(file, columns=["card_number", "email", "id"], rename={"email": "Email"})
    assert file.read_text() == (
        "card_number,Email,id\n11111111,customer.0@example.com,1\n11111112,customer.1@example.com,2\n"
    )


def test_columns_of_parquet_are_text(sandbox: StickyStreetSandbox, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    transfer(tmp_path / "customers.parquet")
    table = parquet.read_table(tmp_path / "customers.parquet")
    assert {str(field.type) for field in table.schema} == {"string"}
    assert table.column("zip").to_pylist()[:2] == ["01000", "01001"]


def test_which_customers(sandbox: StickyStreetSandbox, tmp_path: Path) -> None:
    file = tmp_path / "customers.jsonl"
    campaigns = "123456789012,021987654321"
    assert transfer(file, selected_campaigns=campaigns, date_start="2010-01-03", date_end="2010-01-04")["rows"] == 2
    assert transfer(file, last=28)["rows"] == 2
    asked = [call.fields for call in sandbox.calls]
    assert {name: asked[0][name] for name in ("selected_campaigns", "date_start", "date_end")} == {
        "selected_campaigns": campaigns,
        "date_start": "2010-01-03",
        "date_end": "2010-01-04",
    }
    assert (asked[1]["last"], "selected_campaigns" in asked[1]) == ("28", False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"last": "1", "selected_campaigns": ["5"]}, "last: excludes selected_campaigns"),
        ({"date_start": "2010-01-01"}, "date_start, date_end: need selected_campaigns"),
        ({"cursor_field": "id", "selected_campaigns": ["5"]}, "cursor_field: excludes selected_campaigns"),
        ({"cursor_field": "id", "date_start": "2010-01-01"}, "cursor_field: excludes date_start"),
        ({"cursor_variable": "mine"}, "cursor_variable: needs cursor_field"),
        ({"cursor_field": "id", "cursor_variable": "x" * 251}, "cursor_variable: a shorter name"),
        ({"columns": "email"}, "columns: expected a list of names, got 'email'"),
        # What a template made of something that is not there.
        ({"cursor_field": ""}, "cursor_field: expected the name of a field, got ''"),
        ({"cursor_field": " "}, "cursor_field: expected the name of a field"),
        ({"selected_campaigns": ""}, "selected_campaigns: '' names none; leave it out for all"),
        ({"selected_campaigns": []}, "selected_campaigns: [] names none"),
        ({"selected_campaigns": None}, "selected_campaigns: None names none"),
        ({"last": "None"}, "last: expected the id of a transaction"),
        ({"date_start": "", "selected_campaigns": ["5"]}, "date_start: expected a date"),
    ],
)
def test_arguments_are_checked_before_the_call(
    sandbox: StickyStreetSandbox, tmp_path: Path, arguments: Any, words: str
) -> None:
    with pytest.raises(OptimoveInputError, match="customers_all") as caught:
        transfer(tmp_path / "customers.jsonl", **arguments)
    assert words in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert sandbox.calls == []
    assert list(tmp_path.iterdir()) == []


NATIVE = """
import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator,
)

arguments = {arguments!r}
with DAG(
    "native",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=None,
    params={{"one": "123456789012", "list": ["123456789012", "021987654321"]}},
    render_template_as_native_obj=True,
):
    for name, given in arguments.items():
        StickyStreetCustomersToObjectStorageOperator(task_id=name, path={path!r}, selected_campaigns=given)
"""


def test_templates_that_become_native_objects(
    sandbox: StickyStreetSandbox, run_dag: Callable[..., DagRunResult], tmp_path: Path
) -> None:
    arguments = {
        "written_out": ["123456789012", "021987654321"],
        "one": "{{ params.one }}",
        "a_list": "{{ params.list }}",
        "joined": "{{ params.list | join(',') }}",
        "nothing": "{{ None }}",
        "empty_text": "{{ '' }}",
        "empty_list": "{{ [] }}",
        "empty_tuple": "{{ () }}",
    }
    run = run_dag(NATIVE.format(arguments=arguments, path=str(tmp_path / "{{ task.task_id }}.csv")))
    of_both = "123456789012,021987654321"
    asked = sorted(call.fields.get("selected_campaigns", "everybody") for call in sandbox.calls)
    assert asked == sorted([of_both, "123456789012", of_both, of_both])
    assert run.states == {name: "failed" if name.startswith(("nothing", "empty")) else "success" for name in arguments}


def test_a_format_that_does_not_exist_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(OptimoveInputError, match="output: expected 'JSON' or 'XML', got 'CSV'"):
        StickyStreetCustomersToObjectStorageOperator(task_id="x", path="x.csv", output="CSV")  # type: ignore[arg-type]


def test_a_failure_leaves_the_file_of_before(sandbox: StickyStreetSandbox, tmp_path: Path) -> None:
    file = tmp_path / "customers.jsonl"
    file.write_text("before")
    sandbox.fail("customers_all", body='<response status="error"><error>not today</error></response>')
    with pytest.raises(StickyStreetError, match="not today") as caught:
        transfer(file)
    assert isinstance(caught.value, AirflowFailException)
    assert [path.name for path in tmp_path.iterdir()] == ["customers.jsonl"]
    assert file.read_text() == "before"
    with pytest.raises(OptimoveInputError, match="exists, and overwrite is false"):
        transfer(file, overwrite=False)
    assert len(sandbox.calls) == 1


# The id to go on from

DAG = """
import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator,
)

with DAG("loyalty", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), schedule=None, params={{"last": "7"}}):
    StickyStreetCustomersToObjectStorageOperator{call}
"""
VARIABLE = "sticky_street_last.loyalty.customers"


class Loyalty:
    """Runs a DAG with one task, and knows the Variables."""

    def __init__(self, run_dag: Callable[..., DagRunResult], folder: Path) -> None:
        self._run_dag = run_dag
        self.file = folder / "customers.jsonl"

    def __call__(self, **arguments: Any) -> DagRunResult:
        given = {"task_id": "customers", "path": str(self.file), "cursor_field": "id", **arguments}
        return self._run_dag(DAG.format(call=f"(**{given!r})"))

    def result(self, **arguments: Any) -> Any:
        """What the task returned."""
        run = self(**arguments)
        assert run.states == {"customers": "success"}
        return run.xcom("customers")

    def mapped(self, paths: list[str], **arguments: Any) -> DagRunResult:
        """A run of a task that is mapped."""
        common = {"task_id": "customers", "cursor_field": "id", **arguments}
        return self._run_dag(DAG.format(call=f".partial(**{common!r}).expand(path={paths!r})"))

    @property
    def kept(self) -> dict[str, Any]:
        """All Variables: the object in each, or its text."""
        from airflow.models import Variable
        from airflow.utils.session import create_session

        def value(text: str) -> Any:
            return json.loads(text) if text.startswith("{") else text

        with create_session() as session:
            return {found.key: value(str(found.val)) for found in session.query(Variable)}

    def keep(self, text: str) -> None:
        """Write the Variable by hand."""
        from airflow.models import Variable

        Variable.set(VARIABLE, text)

    def forget(self) -> None:
        from airflow.models import Variable
        from airflow.utils.session import create_session

        with create_session() as session:
            session.query(Variable).delete()


@pytest.fixture
def loyalty(airflow_db: Path, run_dag: Callable[..., DagRunResult], tmp_path: Path) -> Iterator[Loyalty]:
    running = Loyalty(run_dag, tmp_path)
    yield running
    running.forget()


def asked_from(sandbox: StickyStreetSandbox) -> list[str]:
    return [call.fields["last"] for call in sandbox.calls]


@pytest.mark.parametrize(("cursor", "field"), [("customer", "id"), ("response", "last")])
def test_the_id_moves_from_run_to_run(sandbox: StickyStreetSandbox, loyalty: Loyalty, cursor: Any, field: str) -> None:
    sandbox.cursor = cursor
    first = loyalty.result(cursor_field=field)
    assert (first["rows"], first["last"]) == (30, "30")
    moved = loyalty.kept[VARIABLE]
    assert moved["last"] == "30"
    assert [began["start"] for began in moved["runs"].values()] == ["0"]
    assert moved["account"] == f"127.0.0.1:{sandbox.port}/sandbox-account"
    # Without customers the id stays.
    second = loyalty.result(cursor_field=field)
    assert (second["rows"], second["last"]) == (0, "30")
    assert loyalty.kept == {VARIABLE: moved}
    sandbox.change(4)
    last = sandbox.change(5)
    third = loyalty.result(cursor_field=field)
    assert (third["rows"], third["last"]) == (2, str(last))
    assert loyalty.kept[VARIABLE]["last"] == str(last)
    assert [began["start"] for began in loyalty.kept[VARIABLE]["runs"].values()] == ["0", "30"]
    assert asked_from(sandbox) == ["0", "30", "30"]


def test_the_first_run_without_customers(sandbox: StickyStreetSandbox, loyalty: Loyalty) -> None:
    sandbox.customers = 0
    assert loyalty.result()["last"] == "0"
    assert loyalty.kept == {}


def test_an_id_that_was_set_by_hand(sandbox: StickyStreetSandbox, loyalty: Loyalty) -> None:
    loyalty.keep("28")
    assert loyalty.result()["rows"] == 2
    loyalty.keep('{"last": 29}')
    assert loyalty.result()["rows"] == 1
    assert asked_from(sandbox) == ["28", "29"]


def test_an_id_that_is_given_counts_instead(sandbox: StickyStreetSandbox, loyalty: Loyalty) -> None:
    loyalty.keep("28")
    result = loyalty.result(last="{{ params.last }}")
    assert (result["rows"], result["last"]) == (23, "30")
    assert asked_from(sandbox) == ["7"]
    assert loyalty.kept[VARIABLE]["last"] == "30"
    assert [began["start"] for began in loyalty.kept[VARIABLE]["runs"].values()] == ["7"]


def test_a_name_of_ones_own(sandbox: StickyStreetSandbox, loyalty: Loyalty) -> None:
    loyalty.result(cursor_variable="{{ dag.dag_id }}_goes_on_from")
    assert set(loyalty.kept) == {"loyalty_goes_on_from"}


def test_a_mapped_task_keeps_an_id_for_each(sandbox: StickyStreetSandbox, loyalty: Loyalty, tmp_path: Path) -> None:
    run = loyalty.mapped([str(tmp_path / f"{number}.jsonl") for number in range(2)])
    assert run.states == {"customers": "success"}
    assert set(loyalty.kept) == {f"{VARIABLE}.0", f"{VARIABLE}.1"}


def test_a_mapped_task_with_a_name_of_ones_own(sandbox: StickyStreetSandbox, loyalty: Loyalty, tmp_path: Path) -> None:
    # One id for both would leave the second one with what came after the first.
    files = [tmp_path / f"{number}.jsonl" for number in range(2)]
    run = loyalty.mapped([str(file) for file in files], cursor_variable="mine")
    assert run.states == {"customers": "success"}
    assert set(loyalty.kept) == {"mine.0", "mine.1"}
    assert [len(file.read_text().splitlines()) for file in files] == [30, 30]


def test_an_id_does_not_go_back(sandbox: StickyStreetSandbox, loyalty: Loyalty) -> None:
    loyalty.keep("35")
    result = loyalty.result(last="0")
    assert (result["rows"], result["last"]) == (30, "35")
    assert loyalty.kept[VARIABLE]["last"] == "35"


def test_ids_are_numbers(sandbox: StickyStreetSandbox, loyalty: Loyalty) -> None:
    # As texts, 10 would come before 9.
    sandbox.customers = 10
    loyalty.keep("9")
    assert loyalty.result()["last"] == "10"
    assert loyalty.kept[VARIABLE]["last"] == "10"


def test_a_repeated_run_starts_where_it_did(
    sandbox: StickyStreetSandbox, loyalty: Loyalty, monkeypatch: pytest.MonkeyPatch
) -> None:
    loyalty.keep("20")
    # Lost after the id was kept: the worker dies before Airflow knows that the task has succeeded.
    end = StickyStreetCustomersToObjectStorageOperator._keep
    deaths = iter([True])

    def die_once(self: Any, *arguments: Any) -> None:
        end(self, *arguments)
        if next(deaths, False):
            raise RuntimeError("killed")

    monkeypatch.setattr(StickyStreetCustomersToObjectStorageOperator, "_keep", die_once)
    run = loyalty(retries=1)
    if run.states == {"customers": "up_for_retry"}:
        pytest.fail("the second try did not run")
    assert run.states == {"customers": "success"}
    assert asked_from(sandbox) == ["20", "20"]
    assert run.xcom("customers")["rows"] == 10
    assert loyalty.kept[VARIABLE]["last"] == "30"


@pytest.mark.parametrize(
    ("cursor", "field", "words"),
    [
        ("nowhere", "id", "no id in 'id'; there is beside the customers status; in the last customer first_name, last"),
        ("response", "id", "there is beside the customers status, last"),
        ("customer", "ID", "card_number, id"),
        ("customer", "address2", "no id in 'address2'"),
    ],
)
def test_a_report_without_the_id_fails_for_good(
    sandbox: StickyStreetSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cursor: Any, field: str, words: str
) -> None:
    sandbox.cursor, sandbox.customers = cursor, 28  # The last one has no address2.
    kept = keep_in(monkeypatch, {})
    with pytest.raises(OptimoveInputError, match="cursor_field: ") as caught:
        transfer(tmp_path / "customers.jsonl", cursor_field=field, output="XML")
    assert words in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    # A file whose end nobody knows would be taken for done, and read again by the next run.
    assert list(tmp_path.iterdir()) == []
    assert kept == {}


def test_the_id_is_kept_after_the_file(
    sandbox: StickyStreetSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "customers.jsonl"
    there: list[bool] = []
    keep_in(monkeypatch, {})
    monkeypatch.setattr(StickyStreetCustomersToObjectStorageOperator, "_keep", lambda *_: there.append(file.exists()))
    transfer(file, cursor_field="id")
    assert there == [True]
    # A file that cannot be written keeps nothing.
    with pytest.raises(OptimoveInputError):
        transfer(tmp_path, cursor_field="id", file_format="jsonl")
    assert there == [True]


# What nobody may see


@pytest.mark.parametrize("in_header", [False, True])
def test_secrets_are_in_nothing_that_a_run_leaves(
    sandbox: StickyStreetSandbox,
    loyalty: Loyalty,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    in_header: bool,
) -> None:
    sandbox.user_password, sandbox.access_key = PASSWORD, KEY
    connection = sandbox.key_connection if in_header else sandbox.connection
    secret = KEY if in_header else PASSWORD
    monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_DEFAULT", connection)
    sandbox.fail("customers_all", status=503, body=f"cannot serve {secret} {quote(secret)} {quote_plus(secret)}")
    with caplog.at_level(logging.DEBUG):
        run = loyalty()
        sandbox.fail("customers_all", body=f'{{"status":"error","error":"not {secret}"}}')
        failed = loyalty()
    assert run.states == {"customers": "success"}
    assert failed.states == {"customers": "failed"}
    captured = capfd.readouterr()
    written = caplog.text + captured.out + captured.err
    assert "cannot serve *** *** ***" in written
    assert "not ***" in written
    left = [run.rendered("customers"), run.xcom("customers"), failed.rendered("customers"), loyalty.kept]
    assert "cursor_field" in left[0]
    for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]):
        assert form not in written
        assert form not in json.dumps(left)
        assert form not in str(left)


def test_the_lineage_names_the_account_and_no_secret(sandbox: StickyStreetSandbox, tmp_path: Path) -> None:
    operator = StickyStreetCustomersToObjectStorageOperator(task_id="x", path=str(tmp_path / "x.csv"))
    assert operator.source() == f"stickystreet://127.0.0.1:{sandbox.port}/sandbox-account/customers_all"


# A million customers

FEWER, MORE = 100_000, 1_000_000
WORST_GROWTH = 20_000_000  # bytes
READER = """
import json, sys
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator as Operator,
)
from tests.benchmarks.measuring import measured

def read(customers):
    path = f"{sys.argv[2]}/{customers}.jsonl"
    task = Operator(task_id="read", path=path, output=sys.argv[1], last=str(customers))
    return task.execute({})["rows"]

read(10)
print(json.dumps({number: measured(lambda: read(number)) for number in map(int, sys.argv[3:])}))
"""


class LargeSandbox(StickyStreetSandbox):
    """Has as many customers as ``last`` says, and writes them as quickly as can be."""

    def _answer(self, function: str, received: Received) -> Reply:
        xml = received.fields["output"] == "XML"
        kept = {name: self.customer(0)[name] for name in ("first_name", "last_name", "email", "custom1")}
        if xml:
            opening, between, closing = '<response status="success">', "", "</response>"
            fields = "".join(f"\n<{name}>{value}</{name}>" for name, value in {**kept, "id": "%d"}.items())
            template = f"<customer>{fields}\n</customer>\n"
        else:
            opening, between, closing = '{"status": "success", "customer": [', ",", "]}"
            template = json.dumps({**kept, "id": "%d"}, indent=1)
        numbers = iter(range(int(received.fields["last"])))

        def pieces() -> Iterator[bytes]:
            yield opening.encode()
            joint = ""
            while some := list(islice(numbers, 1000)):
                yield (joint + between.join([template % number for number in some])).encode()
                joint = between
            yield closing.encode()

        return Reply(body=pieces())


@pytest.mark.parametrize("output", ["XML", "JSON"])
def test_a_million_customers_need_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    if sys.platform != "linux":
        pytest.skip("tells memory in another way")
    with LargeSandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_STICKY_STREET_DEFAULT", sandbox.connection)
        ran = subprocess.run(
            [sys.executable, "-c", READER, output, str(tmp_path), str(FEWER), str(MORE)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    memory = {}
    for customers in (FEWER, MORE):
        measure = told[str(customers)]
        assert measure["returned"] == customers
        memory[customers] = measure["memory"]
        with open(tmp_path / f"{customers}.jsonl", "rb") as lines:
            ids = [int(line.rpartition(b'"id":"')[2].partition(b'"')[0]) for line in lines]
        assert ids == list(range(customers))
    assert memory[FEWER] > 0
    assert memory[MORE] - memory[FEWER] < WORST_GROWTH
