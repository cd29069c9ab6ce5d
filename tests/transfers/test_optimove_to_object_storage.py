"""Rows into files over real HTTP: all of them, once, in order, or a clear error and no file."""

from __future__ import annotations

import csv
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
def campaigns(start: Start) -> list[int]:
    start(60)
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


# What is not valid


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": "x.txt"}, r"path: x\.txt ends in none of \.jsonl, "),
        ({"path": "x.parquet.gz"}, "ends in none of"),
        ({"path": "x.csv", "file_format": "xml"}, "file_format: expected None or 'jsonl' or 'csv' or 'parquet'"),
        ({"path": "x.csv", "on_data_update": "ignore"}, "on_data_update: expected 'warn' or 'fail', got 'ignore'"),
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
            {"path": "{CampaignID}.csv", "parameters": [{"CampaignID": 1}, {"CampaignID": "1"}]},
            "calls 1 and 2 have the",
        ),
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


def test_what_is_there_is_kept_without_overwrite(campaigns: list[int], tmp_path: Path) -> None:
    (tmp_path / f"{campaigns[1]}.csv").write_text("precious")
    hook_calls = OptimoveHook().client
    arguments: dict[str, Any] = {
        "function": EXECUTION,
        "parameters": [{"CampaignID": campaign} for campaign in campaigns],
        "path": str(tmp_path / "{CampaignID}.csv"),
    }
    with pytest.raises(OptimoveInputError, match=f"{campaigns[1]}.csv exists, and overwrite is false"):
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
    assert f"GetLastDataUpdate was {sandbox.last_data_update} and is 2031-01-01" in warning


def test_changed_data_can_fail_the_task(start: Start, tmp_path: Path) -> None:
    sandbox = start(25)
    sandbox.fail("GetLastDataUpdate", body='{"Date":"2031-01-01"}', after=1)
    arguments = {"function": EVERYBODY, "path": str(tmp_path / "rows.jsonl"), "on_data_update": "fail"}
    with pytest.raises(OptimoveResponseError, match="the data changed during the read") as raised:
        transfer(**arguments, page_size=10)
    # So that Airflow tries again.
    assert type(raised.value) is OptimoveResponseError
    assert files_in(tmp_path) == []
    assert transfer(**arguments, page_size=10)["rows"] == 25


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
