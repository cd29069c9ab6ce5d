"""Rows into files over real HTTP: all of them, once, in order, or a clear error and no file."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_optimove.clients import http
from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveBadRequestError,
    OptimoveError,
    OptimoveInputError,
    OptimovePermissionError,
    OptimoveResponseError,
    OptimoveServerError,
)
from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.transfers.optimove_to_object_storage import OptimoveToObjectStorageOperator

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

# One row a customer.
EVERYBODY = "GetCustomerFutureValues"
TARGETED = "GetCurrentlyTargetedCustomers"
EXECUTION = "GetCustomerExecutionDetailsByCampaign"


class NoPauses:
    """Time in which a pause passes at once."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        pass


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "time", NoPauses)


Start = Callable[[int], OptimoveSandbox]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a sandbox of so many customers, without limits, behind the connection ``optimove_default``."""
    running: list[OptimoveSandbox] = []

    def started(customers: int) -> OptimoveSandbox:
        sandbox = OptimoveSandbox(customers=customers).start()
        running.append(sandbox)
        fields = {**json.loads(sandbox.connection), "extra": {"rate_limit": ""}}
        monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
        return sandbox

    yield started
    for sandbox in running:
        sandbox.stop()


def transfer(**arguments: Any) -> Any:
    return OptimoveToObjectStorageOperator(task_id="transfer", **arguments).execute({})


def rows_of(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    name = path.name.removesuffix(".gz")
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    if name.endswith(".parquet"):
        parquet = pytest.importorskip("pyarrow.parquet")
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    assert not content or content.endswith(b"}\n")
    return [json.loads(line) for line in content.splitlines()]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Paging


@pytest.mark.parametrize(
    ("page_size", "total"),
    [
        *((1, total) for total in (0, 1, 2, 3)),
        *((3, total) for total in (0, 1, 2, 3, 4, 6)),
        *((10_000, total) for total in (0, 1, 9_999, 10_000, 10_001, 20_000)),
        *((200_000, total) for total in (0, 1, 199_999, 200_000, 200_001, 400_000)),
    ],
)
def test_every_row_once_in_order_in_the_fewest_calls(start: Start, tmp_path: Path, page_size: int, total: int) -> None:
    sandbox = start(max(total, 1))
    if not total:
        sandbox.fail(EVERYBODY, body="[]", times=None)
    result = transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=page_size)
    calls = sandbox.calls_of(EVERYBODY)
    file = tmp_path / "rows.jsonl"
    assert result == {"path": str(file), "rows": total, "bytes": file.stat().st_size, "pages": len(calls)}
    ids = [row["CustomerID"] for row in rows_of(file)]
    assert ids == [f"C{number:07d}" for number in range(total)]
    # That a page was the last is only sure when it has fewer rows than asked for, and fewer than the server's own page.
    fewest = -(-total // page_size) or 1
    last_is_sure = total % page_size and total % page_size < 10_000
    assert len(calls) == fewest + (total > 0 and not last_is_sure)
    skips = [int(call.query.get("$skip", 0)) for call in calls]
    assert skips == [min(number * page_size, total) for number in range(len(calls))]
    assert {call.query["$top"] for call in calls} == {str(page_size)}
    # Asked once before, and once after a read of several pages.
    assert len(sandbox.calls_of("GetLastDataUpdate")) == (2 if len(calls) > 1 else 1)


@pytest.mark.parametrize("clamp", [10_000, 200_000])
@pytest.mark.parametrize("page_size", [10_000, 50_000, 200_000])
def test_a_server_that_cuts_pages_off_is_read_to_the_end(
    start: Start, tmp_path: Path, clamp: int, page_size: int
) -> None:
    sandbox = start(25_000)
    sandbox.clamp_top = clamp
    result = transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=page_size)
    assert result["rows"] == 25_000
    assert len({row["CustomerID"] for row in rows_of(tmp_path / "rows.jsonl")}) == 25_000


def test_a_server_that_ignores_skip_is_an_error(start: Start, tmp_path: Path) -> None:
    start(25).ignore_skip = True
    with pytest.raises(OptimoveResponseError, match=r"repeats the one before: \$skip is ignored"):
        transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=10)
    assert files_in(tmp_path) == []


PASSING = [
    {"status": 500},
    {"status": 503, "headers": {"Retry-After": "0"}},
    {"status": 429},
    {"drop": "before"},
    {"drop": "after"},
    {"truncate": True},
    {"body": '[{"CustomerID":"C0000000"},{"Cust'},
]
LASTING = [
    ({"body": '"The inputs are wrong"'}, OptimoveResponseError, "The inputs are wrong"),
    ({"body": "<html><body>Blocked</body></html>", "content_type": "text/html"}, OptimoveResponseError, "HTML"),
    ({"body": '[{"CustomerID":"C0000000"},7]'}, OptimoveResponseError, "expected an array of rows"),
    ({"status": 400}, OptimoveBadRequestError, "HTTP 400"),
    ({"status": 403}, OptimovePermissionError, "HTTP 403"),
    ({"status": 500, "times": None}, OptimoveServerError, "tried 5 times"),
]


@pytest.mark.parametrize("page", range(4))
@pytest.mark.parametrize("fault", PASSING, ids=str)
@pytest.mark.parametrize("ending", ["jsonl", "csv.gz"])
def test_a_page_that_fails_for_a_moment_is_fetched_again(
    start: Start, tmp_path: Path, no_pauses: None, fault: dict[str, Any], page: int, ending: str
) -> None:
    sandbox = start(35)
    file = tmp_path / f"rows.{ending}"
    sandbox.fail(EVERYBODY, after=page, **fault)
    assert transfer(function=EVERYBODY, path=str(file), page_size=10)["rows"] == 35
    assert [row["CustomerID"] for row in rows_of(file)] == [f"C{number:07d}" for number in range(35)]
    skips = [int(call.query.get("$skip", 0)) for call in sandbox.calls_of(EVERYBODY)]
    # That page again, and no other.
    assert skips == sorted([0, 10, 20, 30, 10 * page])


@pytest.mark.parametrize("page", range(4))
@pytest.mark.parametrize(("fault", "kind", "said"), LASTING, ids=str)
@pytest.mark.parametrize("there_before", [False, True])
def test_a_page_that_cannot_be_had_leaves_no_file(
    start: Start,
    tmp_path: Path,
    no_pauses: None,
    fault: dict[str, Any],
    kind: type[OptimoveError],
    said: str,
    page: int,
    there_before: bool,
) -> None:
    sandbox = start(35)
    file = tmp_path / "rows.jsonl"
    if there_before:
        file.write_text('{"yesterday": 1}\n')
    sandbox.fail(EVERYBODY, after=page, **fault)
    with pytest.raises(kind, match=said) as raised:
        transfer(function=EVERYBODY, path=str(file), page_size=10)
    assert raised.value.function == EVERYBODY
    assert files_in(tmp_path) == (["rows.jsonl"] if there_before else [])
    if there_before:
        assert file.read_text() == '{"yesterday": 1}\n'


def test_a_task_whose_time_ends_leaves_no_file(start: Start, tmp_path: Path) -> None:
    sandbox = start(35)
    sandbox.fail(EVERYBODY, delay=30, after=2)

    def end(*_: object) -> None:
        raise AirflowTaskTimeout("fake")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        with pytest.raises(AirflowTaskTimeout, match="fake"):
            transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(sandbox.calls_of(EVERYBODY)) == 2
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("page", range(4))
def test_a_token_that_expires_amid_the_read(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    sandbox = start(35)
    fields = {**json.loads(sandbox.login_connection), "extra": {"rate_limit": "", "session_cache": "memory"}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    sandbox.fail(EVERYBODY, expired_token=True, after=page)
    transfer(function=EVERYBODY, path=str(tmp_path / "rows.csv"), page_size=10)
    assert [row["CustomerID"] for row in rows_of(tmp_path / "rows.csv")] == [f"C{number:07d}" for number in range(35)]
    assert sandbox.logins == 2


# Formats


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "csv", "parquet", "jsonl.gz", "ndjson.gz", "csv.gz", "JSONL.GZ"])
@pytest.mark.parametrize("page_size", [7, 50_000])
def test_every_format_holds_the_rows(start: Start, tmp_path: Path, ending: str, page_size: int) -> None:
    start(50)
    file = tmp_path / "new" / "folder" / f"rows.{ending}"
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    result = transfer(function=TARGETED, path=str(file), page_size=page_size)
    expected = OptimoveHook().call(TARGETED)
    assert result["rows"] == len(expected) > 20
    assert result["bytes"] == file.stat().st_size
    rows = rows_of(file.rename(file.with_name(file.name.lower())))
    if "json" in ending.lower():
        assert rows == expected
    else:
        assert [str(row["CampaignID"]) for row in rows] == [str(row["CampaignID"]) for row in expected]
        assert [str(row["StartDate"]) for row in rows] == [row["StartDate"] for row in expected]
        assert [row["CustomerID"] for row in rows] == [row["CustomerID"] for row in expected]


def test_json_lines_are_the_servers_bytes(start: Start, tmp_path: Path) -> None:
    sandbox = start(1)
    rows = ['{"CustomerID":"A","FutureValue":1.50,"New":{"x":[{},{}]}}', '{"CustomerID":"\\u00e9","FutureValue":1e2}']
    sandbox.fail(EVERYBODY, body=f"[{', '.join(rows)}]")
    transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"))
    assert (tmp_path / "rows.jsonl").read_text() == "".join(f"{row}\n" for row in rows)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "jsonl.gz", "csv.gz"])
def test_no_rows_are_an_empty_valid_file(start: Start, tmp_path: Path, ending: str) -> None:
    sandbox = start(1)
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    sandbox.fail(TARGETED, body="[]")
    file = tmp_path / f"rows.{ending}"
    parameters = {"CustomerAttributes": ["Alias", "Country"]}
    result = transfer(function=TARGETED, parameters=parameters, path=str(file))
    assert (result["rows"], result["pages"]) == (0, 1)
    assert rows_of(file) == []
    columns = ["CustomerID", "CampaignID", "ActionID", "StartDate", "EndDate", "Alias", "Country", "OtherFields"]
    if "csv" in ending:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert content.decode() == ",".join(columns) + "\n"
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.read_schema(file).names == columns


def test_customer_attributes_are_columns(start: Start, tmp_path: Path) -> None:
    start(30)
    parameters = {"customerattributes": ["Alias", "Country"]}
    transfer(function=TARGETED, parameters=parameters, path=str(tmp_path / "rows.csv"))
    transfer(function=TARGETED, parameters=parameters, path=str(tmp_path / "rows.jsonl"))
    transfer(function=TARGETED, parameters=parameters, path=str(tmp_path / "named.jsonl"), attributes_as_fields=True)
    expected = [row.pop("CustomerAttributes") for row in rows_of(tmp_path / "rows.jsonl")]
    assert expected
    for name in ("rows.csv", "named.jsonl"):
        assert [[row["Alias"], row["Country"]] for row in rows_of(tmp_path / name)] == expected


def test_columns_and_new_names(start: Start, tmp_path: Path) -> None:
    start(30)
    options: dict[str, Any] = {
        "parameters": {"CustomerAttributes": ["Alias", "Country"]},
        "columns": ["country", "CustomerID"],
        "rename": {"CustomerID": "id"},
    }
    for name in ("rows.csv", "rows.jsonl"):
        transfer(function=TARGETED, path=str(tmp_path / name), **options)
        rows = rows_of(tmp_path / name)
        assert {tuple(row) for row in rows} == {("Country", "id")}
        assert [row["id"] for row in rows] == [row["CustomerID"] for row in OptimoveHook().call(TARGETED)]


# Several calls


@pytest.fixture
def sandbox(start: Start) -> OptimoveSandbox:
    return start(60)


@pytest.fixture
def campaigns(sandbox: OptimoveSandbox) -> list[int]:
    hook = OptimoveHook()
    date = hook.client.get_last_data_update()
    return sorted({int(c["CampaignID"]) for c in hook.client.get_executed_campaign_details(date=date)})


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_list_with_a_name_in_the_path_gives_a_file_each(campaigns: list[int], tmp_path: Path, ending: str) -> None:
    path = str(tmp_path / "campaign={campaignid}" / f"rows.{ending}")
    results = transfer(function=EXECUTION, parameters=[{"CampaignID": c} for c in campaigns], path=path, page_size=20)
    assert [result["path"] for result in results] == [path.format(campaignid=campaign) for campaign in campaigns]
    for campaign, result in zip(campaigns, results, strict=True):
        rows = rows_of(Path(result["path"]))
        assert [row["CustomerID"] for row in rows] == [
            row["CustomerID"] for row in OptimoveHook().rows(EXECUTION, CampaignID=campaign)
        ]
        assert len(rows) == result["rows"]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_list_without_one_goes_into_one_file(campaigns: list[int], tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"rows.{ending}"
    parameters = [{"campaign_id": str(campaign)} for campaign in campaigns]
    result = transfer(function=EXECUTION, parameters=parameters, path=str(file), page_size=20)
    expected = [
        (campaign, row["CustomerID"], row["PromoCode"])
        for campaign in campaigns
        for row in OptimoveHook().rows(EXECUTION, CampaignID=campaign)
    ]
    rows = rows_of(file)
    assert next(iter(rows[0])) == "CampaignID"
    found = [(int(row["CampaignID"]), row["CustomerID"], row["PromoCode"] or None) for row in rows]
    assert found == expected
    assert result["rows"] == len(expected)


def test_a_list_of_one_has_the_columns_of_a_list(campaigns: list[int], tmp_path: Path) -> None:
    parameters = [{"CampaignID": campaigns[0]}]
    assert isinstance(transfer(function=EXECUTION, parameters=parameters, path=str(tmp_path / "rows.csv")), dict)
    assert next(iter(rows_of(tmp_path / "rows.csv")[0])) == "CampaignID"
    assert isinstance(
        transfer(function=EXECUTION, parameters=parameters, path=str(tmp_path / "{CampaignID}.csv")), list
    )


@pytest.mark.parametrize("parameters", [[], ()])
def test_no_calls_at_all(start: Start, tmp_path: Path, parameters: Any) -> None:
    sandbox = start(1)
    assert transfer(function=EXECUTION, parameters=parameters, path=str(tmp_path / "{CampaignID}.csv")) == []
    file = tmp_path / "rows.csv"
    result = transfer(function=EXECUTION, parameters=parameters, path=str(file))
    assert result == {"path": str(file), "rows": 0, "bytes": file.stat().st_size, "pages": 0}
    assert file.read_text().startswith("CampaignID,CustomerID,")
    assert sandbox.calls_of(EXECUTION) == []


def test_values_in_a_path_stay_in_their_folder(start: Start, tmp_path: Path) -> None:
    start(20)
    parameters = {"LifecycleStageID": [1, 2]}
    result = transfer(function=EVERYBODY, parameters=parameters, path=str(tmp_path / "{LifecycleStageID}.jsonl"))
    assert Path(result["path"]).name == "1%2C2.jsonl"
    parameters_of_text = {"CustomerAttribute": "Country", "CustomerAttributeValue": "../../x"}
    path = str(tmp_path / "in" / "{CustomerAttributeValue}.jsonl")
    result = transfer(function=EVERYBODY, parameters=parameters_of_text, path=path)
    assert files_in(tmp_path / "in") == ["..%2F..%2Fx.jsonl"]


@pytest.mark.parametrize(
    ("value", "name"),
    [("..", "%2E%2E"), (".", "%2E"), ("...", "%2E%2E%2E"), ("~", "%7E"), ("~root", "%7Eroot"), ("a.b", "a.b")],
)
def test_a_value_in_a_path_is_the_name_of_one_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, name: str
) -> None:
    start(20)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    parameters = {"CustomerAttribute": "Country", "CustomerAttributeValue": value}
    for path in ("{CustomerAttributeValue}/rows.jsonl", f"{tmp_path}/in/{{CustomerAttributeValue}}/rows.jsonl"):
        result = transfer(function=EVERYBODY, parameters=parameters, path=path)
        assert result["path"] == str(tmp_path / "in" / name / "rows.jsonl")
    assert files_in(tmp_path) == [f"in/{name}/rows.jsonl"]


def test_truth_in_a_path(start: Start, tmp_path: Path) -> None:
    date = start(20).last_data_update
    for given, name in ((True, "true"), ("False", "false")):
        parameters = {"Date": date, "IncludeControlGroup": given}
        result = transfer(
            function="GetCustomerOneTimeActionsByDate",
            parameters=parameters,
            path=str(tmp_path / "{Date}-{IncludeControlGroup}.csv"),
        )
        assert Path(result["path"]).name == f"{date}-{name}.csv"


@pytest.mark.parametrize(
    "path", ["rows.csv", "./new/../rows.csv", "~/rows.csv", "file:{}/rows.csv", "file://localhost{}/rows.csv"]
)
def test_results_hold_absolute_paths(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    start(20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert transfer(function=EVERYBODY, path=path.format(tmp_path))["path"] == str(tmp_path / "rows.csv")
    results = transfer(function=EXECUTION, parameters=[{"CampaignID": 221}], path="~/{CampaignID}.csv")
    assert [result["path"] for result in results] == [str(tmp_path / "221.csv")]
    assert files_in(tmp_path) == ["221.csv", "rows.csv"]


# Arguments as columns


@pytest.mark.parametrize("name", ["rows.jsonl", "{CampaignID}.jsonl"])
def test_repeated_calls_are_made_once(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    sandbox = start(60)
    parameters = [
        {"CampaignID": 221},
        {"CampaignID": 222},
        {"campaign_id": "221"},
        {"CampaignID": 222, "ChannelID": None},
    ]
    with caplog.at_level(logging.WARNING):
        transfer(function=EXECUTION, parameters=parameters, path=str(tmp_path / name))
    assert [call.query["CampaignID"] for call in sandbox.calls_of(EXECUTION)] == ["221", "222"]
    assert [record.getMessage() for record in caplog.records if "the same" in record.getMessage()] == [
        f"{EXECUTION}: call 3 is the same as call 1, and made once only",
        f"{EXECUTION}: call 4 is the same as call 2, and made once only",
    ]
    rows = [row for file in sorted(tmp_path.iterdir()) for row in rows_of(file)]
    expected = [row for campaign in (221, 222) for row in OptimoveHook().rows(EXECUTION, CampaignID=campaign)]
    assert [row["CustomerID"] for row in rows] == [row["CustomerID"] for row in expected]
    assert expected


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("name", ["rows", "{CampaignID}"])
@pytest.mark.parametrize("listed", [False, True])
def test_an_argument_can_be_a_column(start: Start, tmp_path: Path, ending: str, name: str, listed: bool) -> None:
    start(60)
    parameters = {"CampaignID": 221}
    options: dict[str, Any] = {
        "function": EXECUTION,
        "parameters": [parameters] if listed else parameters,
        "path": str(tmp_path / f"{name}.{ending}"),
    }
    file = tmp_path / f"{name.format(CampaignID=221)}.{ending}"
    expected = [row["CustomerID"] for row in OptimoveHook().rows(EXECUTION, CampaignID=221)]
    transfer(**options, columns=["CustomerID", "campaignid"])
    rows = rows_of(file)
    assert [(row["CustomerID"], str(row["CampaignID"])) for row in rows] == [(customer, "221") for customer in expected]
    assert {tuple(row) for row in rows} == {("CustomerID", "CampaignID")}
    transfer(**options, columns=["CustomerID", "CampaignID"], rename={"campaignID": "campaign"})
    assert [(row["CustomerID"], str(row["campaign"])) for row in rows_of(file)] == [
        (customer, "221") for customer in expected
    ]
    transfer(**options)
    shared = listed and name == "rows"
    assert {"CampaignID" in row for row in rows_of(file)} == {shared}


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("attribute", ["CampaignID", "campaignid"])
def test_a_column_is_an_attribute_rather_than_an_argument(
    start: Start, tmp_path: Path, ending: str, attribute: str
) -> None:
    start(1).fail(EXECUTION, body='[{"CustomerID":"A","CustomerAttributes":["own"]}]')
    file = tmp_path / f"rows.{ending}"
    parameters = {"CampaignID": 221, "CustomerAttributes": [attribute]}
    transfer(function=EXECUTION, parameters=parameters, path=str(file), columns=["CustomerID", "CampaignID"])
    assert [list(row.values()) for row in rows_of(file)] == [["A", "own"]]


ENDED = "GetCustomersActionEndedByDate"


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_what_is_asked_for_is_not_what_a_row_has(start: Start, tmp_path: Path, ending: str) -> None:
    last = start(60).last_data_update
    dates = [str(last), str(last - datetime.timedelta(days=1))]
    file = tmp_path / f"rows.{ending}"
    transfer(function=ENDED, parameters=[{"Date": date} for date in dates], path=str(file))
    expected = [
        (date, row["CustomerID"], row["Date"]) for date in dates for row in OptimoveHook().rows(ENDED, Date=date)
    ]
    rows = rows_of(file)
    assert [(str(row["RequestedDate"]), row["CustomerID"], str(row["Date"])) for row in rows] == expected
    assert {requested for requested, _, _ in expected} == set(dates)
    # The own date of each row is another one, or this would show nothing.
    assert all(requested != own for requested, _, own in expected)
    assert next(iter(rows[0])) == "RequestedDate"
    transfer(function=ENDED, parameters={"Date": dates[0]}, path=str(file), columns=["Date", "RequestedDate"])
    assert [(str(row["RequestedDate"]), str(row["Date"])) for row in rows_of(file)] == [
        (requested, own) for requested, _, own in expected if requested == dates[0]
    ]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_names_of_attributes_are_no_column(start: Start, tmp_path: Path, ending: str) -> None:
    date = str(start(60).last_data_update)
    file = tmp_path / f"rows.{ending}"
    parameters = [{"Date": date, "ProductAttributes": ["color"]}]
    transfer(function="GetCustomerProductDetailsByDate", parameters=parameters, path=str(file))
    rows = rows_of(file)
    assert {row["Date"] for row in rows} == {date}
    names = {name.lower() for row in rows for name in row}
    assert not any("attributes" in name for name in names if name != "productattributes")
    assert all(row.get("ProductAttributes") != "color" for row in rows)
    with pytest.raises(OptimoveInputError, match="RequestedProductAttributes"):
        transfer(
            function="GetCustomerProductDetailsByDate",
            parameters=parameters,
            path=str(file),
            columns=["RequestedProductAttributes"],
        )


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_an_id_that_a_row_lacks_is_the_argument(start: Start, tmp_path: Path, ending: str) -> None:
    sandbox = start(60)
    sandbox.fail(EXECUTION, body='[{"CustomerID":"A"},{"CustomerID":"B","ChannelID":29},{"CustomerID":"C"}]')
    sandbox.fail(EXECUTION, body='[{"CustomerID":"D"}]')
    file = tmp_path / f"rows.{ending}"
    parameters = [{"CampaignID": 221, "ChannelID": 15}, {"CampaignID": 221, "ChannelID": 459}]
    transfer(function=EXECUTION, parameters=parameters, path=str(file))
    rows = rows_of(file)
    assert [(row["CustomerID"], str(row["ChannelID"])) for row in rows] == [
        *(("A", "15"), ("B", "29"), ("C", "15"), ("D", "459"))
    ]
    assert all("RequestedChannelID" not in row for row in rows)


# Which call


def messages_of(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    """All that was logged, also where Airflow's own loggers pass pytest by."""
    captured = capfd.readouterr()
    return f"{caplog.text}{captured.out}{captured.err}"


@pytest.mark.parametrize("name", ["rows.jsonl", "{CampaignID}.jsonl"])
def test_an_error_names_its_call(
    start: Start,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    sandbox = start(60)
    sandbox.fail(EXECUTION, status=400, body='"No such campaign"', after=1)
    parameters = [{"CampaignID": campaign} for campaign in (221, 7, 222)]
    with caplog.at_level(logging.INFO), pytest.raises(OptimoveBadRequestError) as raised:
        transfer(function=EXECUTION, parameters=parameters, path=str(tmp_path / name))
    assert str(raised.value) == f"{EXECUTION}: No such campaign (call 2 of 3 (CampaignID 7)) (HTTP 400)"
    said = messages_of(caplog, capfd)
    assert f"{EXECUTION}: call 1 of 3 (CampaignID 221)" in said
    assert f"{EXECUTION}: call 2 of 3 (CampaignID 7)" in said
    assert "call 3 of 3" not in said
    assert files_in(tmp_path) == ([] if name == "rows.jsonl" else ["221.jsonl"])


def test_a_single_call_has_no_number(start: Start, tmp_path: Path) -> None:
    for parameters in ({"CampaignID": 7}, [{"CampaignID": 7}]):
        start(60).fail(EXECUTION, status=400, body='"No such campaign"')
        with pytest.raises(OptimoveBadRequestError) as raised:
            transfer(function=EXECUTION, parameters=parameters, path=str(tmp_path / "rows.jsonl"))
        assert str(raised.value) == f"{EXECUTION}: No such campaign (HTTP 400)"


def test_no_customer_is_in_the_log(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox = start(60)
    days = {"StartDate": "2026-01-01", "EndDate": "2026-12-01", "ChannelID": 15}
    parameters = [{"CustomerID": f"C000000{number}", **days} for number in range(3)]
    arguments: dict[str, Any] = {"function": "GetCustomerChannelInteractions", "parameters": parameters}
    with caplog.at_level(logging.DEBUG):
        result = transfer(**arguments, path=str(tmp_path / "rows.jsonl"))
        sandbox.fail("GetCustomerChannelInteractions", status=400, body='"No"', after=1)
        with pytest.raises(OptimoveBadRequestError) as raised:
            transfer(**arguments, path=str(tmp_path / "rows.jsonl"))
    assert result["rows"] == len(rows_of(tmp_path / "rows.jsonl")) > 3
    assert {row["CustomerID"] for row in rows_of(tmp_path / "rows.jsonl")} == {"C0000000", "C0000001", "C0000002"}
    said = messages_of(caplog, capfd)
    shown = "call 2 of 3 (StartDate 2026-01-01, EndDate 2026-12-01, ChannelID 15)"
    assert shown in said
    assert shown in str(raised.value)
    assert "C000000" not in said
    assert "C000000" not in f"{raised.value!r} {raised.value}"


# What is not valid


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": "x.txt"}, r"path: x\.txt ends in none of \.jsonl, "),
        ({"path": "x.parquet.gz"}, "ends in none of"),
        ({"path": "x.csv", "function": "GetCustomer"}, "Optimove has no function"),
        ({"path": "x.csv", "function": "GetCampaignDetails"}, "returns no rows; use OptimoveFunctionOperator"),
        ({"path": "x.csv", "function": "AddPromotions"}, "returns no rows; use the operator of this function"),
        ({"path": "x.csv", "parameters": {}}, "CampaignID: required"),
        ({"path": "x.csv", "parameters": None}, "CampaignID: required"),
        ({"path": "x.csv", "parameters": {"Campaign": 1}}, "Campaign"),
        ({"path": "x.csv", "parameters": "[{'CampaignID': 1}]"}, "render_template_as_native_obj=True"),
        ({"path": "x.csv", "parameters": [{"CampaignID": 1}, {"CampaignID": "x"}]}, "call 2: CampaignID: "),
        ({"path": "x.csv", "parameters": [1]}, "call 1: parameters: expected an object"),
        ({"path": "x.csv", "parameters": 7}, "parameters: expected an object"),
        ({"path": "x.csv", "parameters": {"CampaignID": 1, "$top": 5}}, "all rows are read here; set page_size"),
        ({"path": "x.csv", "page_size": 0}, "page_size: "),
        ({"path": "x.csv", "page_size": 200_001}, "page_size: "),
        ({"path": "x-{ChannelID}.csv"}, r"path: \{ChannelID\} is none of the call's arguments \(CampaignID\)"),
        (
            {"path": "{CampaignID}.csv", "parameters": [{"CampaignID": 1}, {"CampaignID": 1, "ChannelID": 15}]},
            r"path: calls 1 and 2 have the same, 1\.csv",
        ),
        ({"path": "{CampaignID:05d}.csv"}, r"path: \{CampaignID:05d\}\.csv has a brace that belongs to no argument"),
        ({"path": "{ CampaignID }.csv"}, r"path: \{ CampaignID \}\.csv has a brace"),
        ({"path": "{CampaignID.csv"}, "has a brace"),
        ({"path": "CampaignID}.csv"}, "has a brace"),
        ({"path": "{{CampaignID}}.csv"}, "has a brace"),
        ({"path": "{CampaignID}-{.csv"}, "has a brace"),
        ({"path": "file://elsewhere/{CampaignID}.csv"}, "expected file:///, with three slashes"),
        ({"path": "x.csv", "function": "GetRegisteredEventListeners"}, "hold secrets; use OptimoveFunctionOperator"),
        (
            {"path": "x.csv", "parameters": {"CampaignID": 1, "customer_attributes": "['Alias']"}},
            "CustomerAttributes: expected a list, got text.*render_template_as_native_obj=True",
        ),
        (
            {"path": "x.csv", "parameters": [{"CampaignID": 1, "CustomerAttributes": "('Alias',)"}]},
            "call 1: CustomerAttributes: expected a list, got text",
        ),
        ({"path": "x.csv", "parameters": [{"CampaignID": 1}, "{'CampaignID': 2}"]}, "call 2: parameters: expected an"),
        ({"path": "x.csv", "columns": "CustomerID"}, "columns: expected a list of names, got 'CustomerID'"),
        ({"path": "x.csv", "rename": ["CustomerID"]}, "rename: expected an object"),
        ({"path": "x.csv", "rename": {"Country": "c"}}, "rename names Country"),
        ({"path": 7}, "path: expected the path of a file, got int"),
        (
            {
                "path": "x.csv",
                "parameters": [{"CampaignID": 1, "CustomerAttributes": "A"}, {"CampaignID": 2}],
            },
            "CustomerAttributes: all calls whose rows go into one file need the same",
        ),
        (
            {"path": "x.csv", "parameters": {"CampaignID": 1, "CustomerAttributes": ["PromoCode"]}},
            "PromoCode",
        ),
    ],
)
def test_wrong_arguments_are_told_before_any_call(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], said: str
) -> None:
    sandbox = start(1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptimoveError, match=said) as raised:
        transfer(**{"function": EXECUTION, "parameters": {"CampaignID": 221}, **arguments})
    assert not raised.value.may_have_happened
    assert sandbox.calls == []
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"file_format": "xml"}, "file_format: expected None or 'jsonl' or 'csv' or 'parquet', got 'xml'"),
        ({"on_data_update": "ignore"}, "on_data_update: expected 'warn' or 'fail', got 'ignore'"),
    ],
)
def test_wrong_choices_are_told_when_the_dag_is_read(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(OptimoveInputError) as raised:
        OptimoveToObjectStorageOperator(task_id="transfer", function=EXECUTION, path="x.csv", **arguments)
    assert raised.value.problems == (said,)
    assert raised.value.function == EXECUTION


def test_a_file_of_another_machine(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = start(1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptimoveInputError, match="expected file:///, with three slashes"):
        transfer(function=EVERYBODY, path="file://elsewhere/rows.csv")
    assert sandbox.calls_of(EVERYBODY) == []
    assert files_in(tmp_path) == []


def test_an_undocumented_column_must_be_in_some_row(start: Start, tmp_path: Path) -> None:
    sandbox = start(1)
    sandbox.fail(EVERYBODY, body='[{"CustomerID":"A"},{"CustomerID":"B","Score":5}]', times=2)
    for ending in ("jsonl", "csv"):
        file = tmp_path / f"rows.{ending}"
        transfer(function=EVERYBODY, path=str(file), columns=["CustomerID", "score"])
        assert [row.get("score") or None for row in rows_of(file)] in ([None, "5"], [None, 5])
    with pytest.raises(OptimoveInputError, match="score is no documented field, and no row has it"):
        transfer(function=EVERYBODY, path=str(tmp_path / "rows.csv"), columns=["CustomerID", "score"])
    assert [row["score"] for row in rows_of(tmp_path / "rows.csv")] == ["", "5"]


def test_what_is_there_is_kept_without_overwrite(campaigns: list[int], tmp_path: Path) -> None:
    (tmp_path / f"{campaigns[1]}.csv").write_text("precious")
    hook_calls = OptimoveHook().client
    arguments: dict[str, Any] = {
        "function": EXECUTION,
        "parameters": [{"CampaignID": campaign} for campaign in campaigns],
        "path": str(tmp_path / "{CampaignID}.csv"),
    }
    told = f"{campaigns[1]}.csv exists, and overwrite is false; an earlier try of this task may have written it"
    with pytest.raises(OptimoveInputError, match=told):
        transfer(**arguments, overwrite=False)
    assert files_in(tmp_path) == [f"{campaigns[1]}.csv"]
    assert hook_calls.calls_made == 0
    transfer(**arguments)
    assert (tmp_path / f"{campaigns[1]}.csv").read_text() != "precious"


# Data that changes


def test_changed_data_is_told(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sandbox = start(25)
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=1)
    with caplog.at_level(logging.WARNING):
        result = transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=10)
    assert result["rows"] == 25
    (warning,) = [record.getMessage() for record in caplog.records if "changed" in record.getMessage()]
    assert warning == (
        f"{EVERYBODY}: {tmp_path}/rows.jsonl: the data changed during the read"
        f" (GetLastDataUpdate was {sandbox.last_data_update} and is 2031-01-01): rows may be missing or doubled"
    )


def test_changed_data_can_fail_the_task(start: Start, tmp_path: Path) -> None:
    sandbox = start(25)
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=1)
    arguments = {"function": EVERYBODY, "path": str(tmp_path / "rows.jsonl"), "on_data_update": "fail"}
    with pytest.raises(OptimoveResponseError, match="the data changed during the read") as raised:
        transfer(**arguments, page_size=10)
    # So that Airflow tries again.
    assert type(raised.value) is OptimoveResponseError
    assert raised.value.function == EVERYBODY
    assert f"{tmp_path}/rows.jsonl was not written; a retry reads all again" in str(raised.value)
    assert files_in(tmp_path) == []
    assert transfer(**arguments, page_size=10)["rows"] == 25


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_data_that_changes_between_files(
    campaigns: list[int], sandbox: OptimoveSandbox, tmp_path: Path, moves: int
) -> None:
    calls = campaigns[:3]
    # Every file has several pages, so that each is followed by a question.
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=moves, times=None)
    with pytest.raises(OptimoveResponseError, match="the data changed during the read") as raised:
        transfer(
            function=EXECUTION,
            parameters=[{"CampaignID": campaign} for campaign in calls],
            path=str(tmp_path / "{CampaignID}.csv"),
            page_size=2,
            on_data_update="fail",
        )
    assert f"{tmp_path}/{calls[moves - 1]}.csv was not written" in str(raised.value)
    assert (f", the {moves - 1} file" in str(raised.value)) == (moves > 1)
    assert files_in(tmp_path) == sorted(f"{campaign}.csv" for campaign in calls[: moves - 1])


def test_data_that_changes_between_files_of_a_page_each(
    campaigns: list[int], sandbox: OptimoveSandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=1, times=None)
    arguments: dict[str, Any] = {
        "function": EXECUTION,
        "parameters": [{"CampaignID": campaign} for campaign in campaigns[:3]],
        "path": str(tmp_path / "{CampaignID}.csv"),
    }
    with pytest.raises(OptimoveResponseError, match="the 2 files before it were; a retry reads all again"):
        transfer(**arguments, on_data_update="fail")
    assert files_in(tmp_path) == sorted(f"{campaign}.csv" for campaign in campaigns[:2])
    sandbox.faults.clear()
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=1, times=None)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        transfer(**arguments)
    (warning,) = [record.getMessage() for record in caplog.records if "changed" in record.getMessage()]
    assert warning.startswith(f"{EXECUTION}: {tmp_path}/{campaigns[2]}.csv: the data changed")
    assert len(files_in(tmp_path)) == 3


def test_a_change_is_told_once(
    campaigns: list[int], sandbox: OptimoveSandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=2, times=None)
    with caplog.at_level(logging.WARNING):
        transfer(
            function=EXECUTION,
            parameters=[{"CampaignID": campaign} for campaign in campaigns[:3]],
            path=str(tmp_path / "{CampaignID}.csv"),
            page_size=2,
        )
    (warning,) = [record.getMessage() for record in caplog.records if "changed" in record.getMessage()]
    assert f"{tmp_path}/{campaigns[1]}.csv" in warning


def test_a_single_page_cannot_shift(start: Start, tmp_path: Path) -> None:
    sandbox = start(25)
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=1)
    transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), on_data_update="fail")
    assert len(sandbox.calls_of("GetLastDataUpdate")) == 1


def test_changes_between_files_are_told(campaigns: list[int], tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "function": EXECUTION,
        "parameters": [{"CampaignID": campaign} for campaign in campaigns],
        "path": str(tmp_path / "{CampaignID}.jsonl"),
    }
    operator = OptimoveToObjectStorageOperator(task_id="transfer", on_data_update="fail", **arguments)
    made = operator.hook.client.calls_made
    operator.execute({})
    assert operator.hook.client.calls_made - made == len(campaigns) + 2


def test_a_data_date_that_cannot_be_had_is_no_reason_to_fail(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = start(25)
    sandbox.fail("GetLastDataUpdate", status=403, times=None)
    with caplog.at_level(logging.WARNING):
        assert transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=10)["rows"] == 25
    assert "It cannot be told whether the data changes during the read" in caplog.text
    with pytest.raises(OptimovePermissionError):
        transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), page_size=10, on_data_update="fail")


@pytest.mark.parametrize("on_data_update", ["warn", "fail"])
def test_a_refused_key_is_told_at_once(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture, on_data_update: Any
) -> None:
    sandbox = start(25)
    sandbox.fail(status=401, body='"Unauthorized"', times=None)
    with caplog.at_level(logging.WARNING), pytest.raises(OptimoveAuthenticationError) as raised:
        transfer(function=EVERYBODY, path=str(tmp_path / "rows.jsonl"), on_data_update=on_data_update)
    assert (raised.value.function, raised.value.status) == ("GetLastDataUpdate", 401)
    assert [call.function for call in sandbox.calls] == ["GetLastDataUpdate"]
    assert "cannot be told" not in caplog.text
    assert files_in(tmp_path) == []
