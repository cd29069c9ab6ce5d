"""SessionM's campaigns in files, read over real HTTP."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset

from airflow_provider_optimove.clients import long_writes
from airflow_provider_optimove.exceptions import OptimoveInputError, SessionMError
from airflow_provider_optimove.sandbox import SessionMSandbox
from airflow_provider_optimove.sandbox.sessionm import DIVISIONS
from airflow_provider_optimove.transfers import to_object_storage
from airflow_provider_optimove.transfers.sessionm_to_object_storage import (
    ACTIVE_FIELDS,
    CUSTOMER_FIELDS,
    SessionMCampaignsToObjectStorageOperator,
)
from tests.operators.test_sessionm import KEY, SECRET, refused_unsent
from tests.written import said_in


@pytest.fixture(autouse=True)
def sessionm(monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionMSandbox]:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    with SessionMSandbox(customers=30, api_key=KEY, api_secret=SECRET) as running:
        monkeypatch.setenv("AIRFLOW_CONN_SESSIONM_DEFAULT", running.connection)
        yield running


def transfer(path: Path | str, **arguments: Any) -> dict[str, Any]:
    operator = SessionMCampaignsToObjectStorageOperator(task_id="t", path=str(path), **arguments)
    result: dict[str, Any] = operator.execute({})
    return result


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def cells_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# All active campaigns


def active(sessionm: SessionMSandbox, *divisions: str) -> list[int]:
    return [
        campaign.id
        for campaign in sessionm.campaigns.values()
        if campaign.status == "live"
        and campaign.ends_at > sessionm.now
        and (not divisions or campaign.division_id in divisions)
    ]


def test_all_active_campaigns_as_they_came(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    file = tmp_path / "campaigns.jsonl"
    result = transfer(file)
    assert result == {"path": str(file), "rows": 30, "bytes": file.stat().st_size}
    rows = lines_of(file)
    assert [row["id"] for row in rows] == active(sessionm)
    assert rows[0]["targeting"] == {"$and": [{"user.tags": {"$in": ["campaign_1"]}}]}
    assert [call.function for call in sessionm.calls] == ["active_campaigns"]


def test_those_of_a_division_with_chosen_columns(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    file = tmp_path / "campaigns.csv"
    rename = {"external_id": "PromoCode", "name": "PromotionName"}
    transfer(file, division_ids=DIVISIONS[:1], columns=["external_id", "name"], rename=rename)
    assert cells_of(file) == [
        {"PromoCode": sessionm.campaigns[number].permalink, "PromotionName": f"Campaign {number}"}
        for number in active(sessionm, DIVISIONS[0])
    ]


def test_what_the_document_names_has_columns(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    sessionm.campaigns[1].attributes = {**sessionm.campaigns[1].attributes, "ssap_name": "x", "colour": {"r": 1}}
    transfer(tmp_path / "campaigns.csv")
    row = cells_of(tmp_path / "campaigns.csv")[0]
    assert list(row) == [*ACTIVE_FIELDS, "colour", "OtherFields"]
    assert row["metadata"] == '{"campaign_version":2}'
    assert (row["ssap_name"], row["colour"], row["OtherFields"]) == ("x", '{"r":1}', "")


# Campaigns of customers


@pytest.mark.parametrize("kind", ["user_id", "external_id"])
def test_a_row_is_a_campaign_of_a_customer(sessionm: SessionMSandbox, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "campaigns.jsonl"
    ids = [getattr(customer, kind) for customer in sessionm.customers[:3]]
    result = transfer(file, **{f"{kind}s": [*ids, ids[0]]}, division_ids=list(DIVISIONS))
    rows = lines_of(file)
    assert result == {
        "path": str(file),
        "rows": len(rows),
        "bytes": file.stat().st_size,
        "customers": 3,
        "missing": 0,
        "without_campaigns": 0,
    }
    expected = [
        (ids[number], campaign)
        for number in range(3)
        # First those that are messages.
        for campaign in sorted(active(sessionm), key=lambda one: sessionm.campaigns[one].campaign_type != "messaging")
        if (number + campaign) % 10
    ]
    assert [(row[kind], row["campaign_id"]) for row in rows] == expected
    assert list(rows[0])[:3] == [kind, "kind", "campaign_id"]
    for row in rows:
        message = sessionm.campaigns[row["campaign_id"]].campaign_type == "messaging"
        assert (row["kind"], row["template"]["type"]) == (
            ("tile", "internal_tile") if message else ("promotion", "internal_full_page")
        )
    assert len(sessionm.calls) == 3
    assert dict(sessionm.calls[0].query)["division_ids"] in DIVISIONS


def test_nested_values_are_json_in_their_cells(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    file = tmp_path / "campaigns.csv"
    sessionm.states[7, sessionm.customers[0].user_id] = "in_progress"
    transfer(file, user_ids=[sessionm.customers[0].user_id])
    rows = cells_of(file)
    assert list(rows[0]) == ["user_id", *CUSTOMER_FIELDS, "OtherFields"]
    (row,) = (row for row in rows if row["campaign_id"] == "7")
    assert json.loads(row["progress"])["behaviors"][0]["behavior_id"] == 507
    assert list(json.loads(row["behaviors"])) == ["campaign 7 action"]
    assert row["version"] == "2"


def test_columns_have_their_types(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    sessionm.drift = True
    transfer(tmp_path / "c.parquet", external_ids=["C0000001"], columns=["campaign_id", "start_date", "progress"])
    table = parquet.read_table(tmp_path / "c.parquet")
    assert [str(field.type) for field in table.schema] == ["int64", "timestamp[us, tz=UTC]", "string"]
    assert table.num_rows > 20
    assert table["campaign_id"].null_count == 0


def test_customers_from_a_file(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text("Country,ExternalID\nNO,C0000001\nNO,C0000002\n")
    result = transfer(tmp_path / "campaigns.csv", external_ids=str(tmp_path / "customers.csv"))
    assert result["customers"] == 2


def test_customers_who_are_missing(
    sessionm: SessionMSandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "campaigns.jsonl"
    sessionm.refuse("campaigns_of_customer", "No_active_campaign_found", customer="C0000002")
    sessionm.refuse("campaigns_of_customer", "user_NOT_found", customer="C0000003")
    unknown = [f"X{number}" for number in range(30)]
    result = transfer(file, external_ids=["C0000001", "C0000002", "C0000003", *unknown])
    assert (result["customers"], result["missing"], result["without_campaigns"]) == (33, 31, 1)
    assert {row["external_id"] for row in lines_of(file)} == {"C0000001"}
    said = said_in(caplog, capfd)
    # Each is told once, however many handlers there are.
    assert len(set(re.findall(r"SessionM does not know the customer of row (\d+)", said))) == 20
    assert "campaigns_of_customer: SessionM does not know 31 customers" in said
    assert "X29" not in said

    file.write_text("precious")
    with pytest.raises(SessionMError, match=r"User_not_found.*on the customer of row 2") as caught:
        transfer(file, external_ids=["C0000001", "X1"], on_missing="fail")
    assert isinstance(caught.value, AirflowFailException)
    # Somebody without campaigns is none who is missing.
    assert file.read_text() == "precious"
    assert transfer(file, external_ids=["C0000002"], on_missing="fail")["without_campaigns"] == 1
    assert file.read_text() == ""


@pytest.mark.parametrize("on_missing", ["skip", "fail"])
def test_ids_of_another_kind_replace_no_file(sessionm: SessionMSandbox, tmp_path: Path, on_missing: Any) -> None:
    file = tmp_path / "campaigns.jsonl"
    file.write_text("precious")
    ids = [customer.user_id for customer in sessionm.customers[:3]]
    said = {
        "skip": "knows none of the 3 customers, so no file was written. Are their ids external_ids, and not user_ids",
        "fail": "User_not_found.*on the customer of row 1",
    }
    with pytest.raises(SessionMError, match=said[on_missing]) as caught:
        transfer(file, external_ids=ids, on_missing=on_missing)
    assert isinstance(caught.value, AirflowFailException)
    assert file.read_text() == "precious"
    assert transfer(file, user_ids=ids)["customers"] == 3
    assert transfer(file, user_ids=[])["missing"] == 0


def test_customers_without_campaigns_at_all(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    empty = '{"status": "ok", "campaigns": {"tiles": [], "promotions": []}}'
    sessionm.fail("campaigns_of_customer", body=empty)
    result = transfer(tmp_path / "c.csv", external_ids=["C0000001"])
    assert (result["rows"], result["missing"], result["without_campaigns"]) == (0, 0, 1)
    assert (tmp_path / "c.csv").read_text().startswith("external_id,kind,campaign_id,")


def test_how_far_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(long_writes, "LOG_INTERVAL", 0.0)
    transfer(tmp_path / "c.jsonl", external_ids=["C0000001", "C0000002"])
    said = said_in(caplog, capfd)
    assert "campaigns_of_customer: 2 customers" in said
    assert "campaigns_of_customer: 1 of 2 customers, " in said


def test_many_pieces(sessionm: SessionMSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_object_storage, "PIECE_BYTES", 1_000)
    result = transfer(tmp_path / "c.jsonl", external_ids=[customer.external_id for customer in sessionm.customers])
    rows = lines_of(tmp_path / "c.jsonl")
    assert len(rows) == result["rows"] == sum(bool((n + c) % 10) for n in range(30) for c in active(sessionm))


@pytest.mark.parametrize("fault", [{"status": 503, "times": 9}, {"body": "<html>Welcome</html>", "times": 9}])
def test_a_call_that_fails_leaves_what_was_there(
    sessionm: SessionMSandbox, tmp_path: Path, fault: dict[str, Any]
) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text("precious")
    sessionm.fail("campaigns_of_customer", **fault, after=1)
    with pytest.raises(SessionMError, match="on the customer of row 2") as caught:
        transfer(file, external_ids=["C0000001", "C0000002"])
    assert not isinstance(caught.value, AirflowFailException)
    assert file.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"user_ids": ["a"], "external_ids": ["b"]}, "expected exactly one, which names the customers; got both"),
        ({"user_ids": ["a", ""]}, "user_ids: 1 of 2 rows is not valid"),
        ({"user_ids": ["a", ".."]}, "row 2: '..' cannot stand in an address"),
        ({"external_ids": "here.csv", "path": "here.csv"}, "external_ids, path: both are here.csv"),
        ({"division_ids": "['division-north']"}, "division_ids: expected a list, got text. Pass .* render_template_as"),
        ({"division_ids": "None"}, "division_ids: expected texts or whole numbers"),
        ({"path": "here.txt"}, "path: here.txt ends in none of"),
        ({"user_ids": ["a"], "columns": ["external_id"], "rename": {"name": "n"}}, "rename names name"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(
    sessionm: SessionMSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").write_text("external_id\na\n")
    refused_unsent(sessionm, said, lambda: transfer(**{"path": "c.csv", **arguments}))
    assert [path.name for path in tmp_path.iterdir()] == ["here.csv"]


def test_customers_that_a_template_did_not_give_are_not_all_campaigns(sessionm: SessionMSandbox) -> None:
    operator = SessionMCampaignsToObjectStorageOperator(task_id="t", path="c.csv", user_ids="{{ none }}")
    operator.user_ids = None
    with pytest.raises(OptimoveInputError, match="got none"):
        operator.execute({})
    assert sessionm.calls == []


def test_wrong_choices_are_told_when_the_dag_is_read() -> None:
    with pytest.raises(OptimoveInputError, match="on_missing: expected 'skip' or 'fail'"):
        SessionMCampaignsToObjectStorageOperator(task_id="t", path="c.csv", on_missing="warn")  # type: ignore[arg-type]


def test_an_asset_hears_of_it(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    asset = Asset("campaigns")
    event = SimpleNamespace(extra={})
    operator = SessionMCampaignsToObjectStorageOperator(
        task_id="t", path=str(tmp_path / "c.csv"), external_ids=["C0000001", "X1"], outlets=[asset]
    )
    context: Any = {"outlet_events": {asset: event}}
    result = operator.execute(context)
    assert event.extra == {name: fact for name, fact in result.items() if name != "path"}
    assert event.extra["missing"] == 1


DAG = """
import pendulum
from airflow.providers.common.compat.sdk import dag, task
from airflow_provider_optimove.transfers.sessionm_to_object_storage import SessionMCampaignsToObjectStorageOperator

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1))
def campaigns_into_files():
    @task
    def customers():
        return ["C0000017", "C0000018"]

    SessionMCampaignsToObjectStorageOperator(task_id="all", path="{{ params.folder }}/all.csv")
    SessionMCampaignsToObjectStorageOperator(
        task_id="of_customers", path="{{ params.folder }}/of_customers.jsonl", external_ids=customers()
    )
    SessionMCampaignsToObjectStorageOperator(
        task_id="of_a_list", path="{{ params.folder }}/of_a_list.jsonl", external_ids=["C0000001"]
    )

campaigns_into_files()
"""


def test_tasks(run_dag: Any, tmp_path: Path) -> None:
    run = run_dag(DAG, {"folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    assert run.xcom("all")["rows"] == len(cells_of(tmp_path / "all.csv")) == 30
    assert run.xcom("of_customers")["customers"] == 2
    assert {row["external_id"] for row in lines_of(tmp_path / "of_customers.jsonl")} == {"C0000017", "C0000018"}
    assert run.rendered("of_a_list")["external_ids"] == "1 row"
