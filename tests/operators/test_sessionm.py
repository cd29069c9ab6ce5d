"""SessionM's operators: what arrives, what their tries know of each other, and what Airflow shows of them."""

from __future__ import annotations

import base64
import datetime
import json
import logging
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.exceptions import OptimoveInputError, SessionMError
from airflow_provider_optimove.operators.sessionm import SessionMCreateCampaignOperator, SessionMOptInOperator
from airflow_provider_optimove.sandbox import SessionMSandbox
from tests.operators.test_writes import Killed, TaskState
from tests.written import forms_of, rows_about, said_in

# Masked by nothing but the provider's own care: too odd for any pattern.
KEY, SECRET = "fake/api+key=71c3", "fake secret & tests-93c2"
CAMPAIGN: dict[str, Any] = {
    "name": "Winter",
    "status": "live",
    "starts_at": "2026-11-20T00:00:00Z",
    "ends_at": "2099-12-24T00:00:00Z",
    "optin_required": True,
}
REFUSED = "user_ineligible_for_campaign"


@pytest.fixture(autouse=True)
def sessionm(monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionMSandbox]:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    with SessionMSandbox(customers=130, api_key=KEY, api_secret=SECRET) as running:
        monkeypatch.setenv("AIRFLOW_CONN_SESSIONM_DEFAULT", running.connection)
        yield running


class Task:
    """A task and its tries."""

    def __init__(self, operator: type[Any], **arguments: Any) -> None:
        self.operator = operator
        self.arguments = arguments
        self.state: TaskState | None = TaskState()
        self.tries = 0
        self.retries = 1
        self.first_try = 1
        self.names = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1}
        self.outlet_events: dict[Any, Any] = {}

    def run(self, **changed: Any) -> dict[str, Any]:
        self.tries += 1
        self.arguments |= changed
        context: dict[str, Any] = {
            "ti": SimpleNamespace(
                try_number=self.tries,
                max_tries=self.first_try - 1 + self.retries,
                task=SimpleNamespace(retries=self.retries),
                **self.names,
            ),
            "task_state_store": self.state,
            "outlet_events": self.outlet_events,
        }
        result: dict[str, Any] = self.operator(task_id="t", **self.arguments).execute(context)
        return result

    def clear(self) -> None:
        """As the UI does."""
        self.first_try = self.tries + 1

    def fails(self, words: str, **changed: Any) -> SessionMError:
        with pytest.raises(SessionMError, match=words) as caught:
            self.run(**changed)
        return caught.value


def ids_of(sessionm: SessionMSandbox, count: int) -> list[str]:
    return [customer.external_id or "" for customer in sessionm.customers[:count]]


def opted_in(sessionm: SessionMSandbox) -> Counter[str]:
    by_id = {customer.user_id: customer.external_id or "" for customer in sessionm.customers}
    return Counter(by_id[opt_in.user_id] for opt_in in sessionm.opt_ins)


def refused_unsent(sessionm: SessionMSandbox, said: str, run: Callable[[], Any]) -> OptimoveInputError:
    """Runs a task whose arguments are not valid; returns its error."""
    with pytest.raises(OptimoveInputError, match=said) as caught:
        run()
    assert isinstance(caught.value, AirflowFailException)
    assert sessionm.calls == []
    return caught.value


# Opting in


def test_customers_are_opted_in(
    sessionm: SessionMSandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    asset = Asset("opt_ins")
    task = Task(
        SessionMOptInOperator,
        campaign_id="1",
        external_ids=[*ids_of(sessionm, 20), "C0000003", "C0000003"],
        results_path=str(tmp_path / "results.jsonl"),
        fail_on_rejected=False,
        outlets=[asset],
    )
    task.outlet_events = {asset: SimpleNamespace(extra={})}
    result = task.run()
    assert result == {
        "campaign_id": 1,
        "customers": 20,
        "opted_in": 18,
        "refused": 2,
        "codes": {REFUSED: 2},
        "calls": 20,
        "resumed": 0,
    }
    assert task.outlet_events[asset].extra == result
    assert opted_in(sessionm) == Counter(set(ids_of(sessionm, 20)) - {"C0000009", "C0000019"})
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert lines[8:10] == [
        {"row": 9, "external_id": "C0000008", "result": "opted_in"},
        {"row": 10, "external_id": "C0000009", "result": "refused", "code": REFUSED},
    ]
    assert [line["row"] for line in lines] == list(range(1, 21))
    assert stat.S_IMODE((tmp_path / "results.jsonl").stat().st_mode) == 0o600
    said = said_in(caplog, capfd)
    assert "opt_in: 20 customers; 2 rows name one of them again" in said
    assert "opt_in: 20 of 20 customers done, 2 refused" in said


@pytest.mark.parametrize("kind", ["user_id", "external_id"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "csv.gz", "parquet"])
def test_customers_from_files(sessionm: SessionMSandbox, tmp_path: Path, kind: str, ending: str) -> None:
    import gzip

    path = tmp_path / f"customers.{ending}"
    ids = [getattr(customer, kind) for customer in sessionm.customers[:3]]
    if ending == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({kind: ids, "Country": ["NO"] * 3}), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps({kind: one}) + "\n" for one in ids))
    else:
        content = "\n".join([f"Country,{kind}", *(f"NO,{one}" for one in ids)]).encode()
        path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    result = Task(SessionMOptInOperator, campaign_id=1, **{f"{kind}s": str(path)}).run()
    assert result["opted_in"] == 3
    assert opted_in(sessionm) == Counter(ids_of(sessionm, 3))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "expected exactly one, which names the customers; got none"),
        ({"user_ids": ["a"], "external_ids": ["b"]}, "expected exactly one, which names the customers; got both"),
        ({"user_ids": "a, b"}, "user_ids: expected a list of rows or a path that ends in .jsonl"),
        ({"user_ids": ["a", "", "b", None, "\ud800"]}, "user_ids: 3 of 5 rows are not valid\n  row 2: .*\n  row 4: "),
        ({"external_ids": [1, 2, ".", ".."]}, "external_ids: rows are not valid\n  row 3: '.' cannot stand in an addr"),
        ({"user_ids": ["a"], "campaign_id": "winter-26"}, "campaign_id: expected a whole number"),
        ({"user_ids": ["a"], "campaign_id": ""}, "campaign_id: "),
        ({"user_ids": "there.csv", "results_path": "there.csv"}, "user_ids, results_path: both are there.csv"),
        ({"user_ids": ["a"], "results_path": "no/such/folder.jsonl"}, "the folder does not exist"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    sessionm: SessionMSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("user_id\na\n")
    task = Task(SessionMOptInOperator, **{"campaign_id": 1, **arguments})
    assert refused_unsent(sessionm, said, task.run).function in ("opt_in", None)
    assert task.state is not None
    assert task.state.kept == {}


@pytest.mark.parametrize("choice", [{"on_uncertain": "ask"}, {"max_rejected": 0}, {"max_rejected": True}])
def test_wrong_choices_are_told_when_the_dag_is_read(choice: dict[str, Any]) -> None:
    with pytest.raises(OptimoveInputError, match=f"{next(iter(choice))}: expected"):
        SessionMOptInOperator(task_id="t", campaign_id=1, user_ids=["a"], **choice)


def test_nobody(sessionm: SessionMSandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    result = Task(SessionMOptInOperator, campaign_id=1, user_ids=[]).run()
    assert (result["customers"], result["calls"], result["codes"]) == (0, 0, {})
    assert sessionm.calls == []
    assert "user_ids holds no rows" in said_in(caplog, capfd)


def test_numbers_and_texts_are_the_same_customer(sessionm: SessionMSandbox) -> None:
    sessionm.fail("opt_in", body='{"status": "ok"}', times=None)
    result = Task(SessionMOptInOperator, campaign_id=1, external_ids=[17, "17", {"external_id": 17}, "18"]).run()
    assert result["customers"] == 2
    assert [call.path.split("/")[-4] for call in sessionm.calls] == ["17", "18"]


def test_a_retry_goes_on_and_asks_about_who_is_in_doubt(sessionm: SessionMSandbox, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    task = Task(SessionMOptInOperator, campaign_id=1, external_ids=ids_of(sessionm, 130), results_path=str(results))
    sessionm.fail("opt_in", drop="after", after=119)
    error = task.fails("in doubt: the customer of row 120", fail_on_rejected=False)
    assert not isinstance(error, AirflowFailException)
    assert len(results.read_text().splitlines()) == 119
    assert task.state is not None
    assert set(task.state.kept) == {"sessionm_opt_in"}
    # Then the worker dies in the second stretch that follows.
    writes = task.state.writes

    def die() -> None:
        if task.state is not None and task.state.writes > writes:
            raise Killed

    task.state.before_write = die
    with pytest.raises(Killed):
        task.run()
    task.state.before_write = lambda: None
    result = task.run()
    assert (result["opted_in"], result["refused"], result["resumed"]) == (117, 13, 119)
    assert opted_in(sessionm) == Counter(set(ids_of(sessionm, 130)) - set(ids_of(sessionm, 130)[9::10]))
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 131))
    assert {line["result"] for line in lines[119:]} == {"was_opted_in", "refused"}


def test_refused_customers_fail_the_task_at_its_end(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMOptInOperator, campaign_id=1, external_ids=ids_of(sessionm, 20))
    error = task.fails(f"2 of 20 customers were refused: 2 x {REFUSED}. 18 were opted in. Cleared, the task asks")
    assert isinstance(error, AirflowFailException)
    task.fails("2 of 20 customers were refused")
    assert set(opted_in(sessionm).values()) == {1}


def test_a_campaign_that_is_full(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMOptInOperator, campaign_id=5, external_ids=ids_of(sessionm, 20), fail_on_rejected=False)
    error = task.fails("opt_in_limit_reached.*the customer of row 7.*5 of 20 customers were opted in and 1 refused")
    assert isinstance(error, AirflowFailException)
    assert error.code == "opt_in_limit_reached"
    assert len(sessionm.calls) == 7


def test_what_fails_behind_the_last_call_opts_nobody_in_again(sessionm: SessionMSandbox) -> None:
    asset = Asset("opt_ins")
    task = Task(SessionMOptInOperator, campaign_id=1, external_ids=ids_of(sessionm, 5), outlets=[asset])
    # A mapping without the asset: what adds to its event fails.
    task.outlet_events = {}
    with pytest.raises(KeyError):
        task.run()
    task.outlet_events = {asset: SimpleNamespace(extra={})}
    result = task.run()
    assert (result["opted_in"], result["resumed"], result["calls"]) == (5, 5, 0)
    assert set(opted_in(sessionm).values()) == {1}


@pytest.mark.parametrize("memory", [True, False])
def test_what_may_pass_is_tried_again_and_holds_up_nobody_for_ever(sessionm: SessionMSandbox, memory: bool) -> None:
    ids = ids_of(sessionm, 9)
    task = Task(SessionMOptInOperator, campaign_id=1, external_ids=ids, fail_on_rejected=False)
    task.retries = 2
    if not memory:
        task.state = None
    sessionm.refuse("opt_in", "Opt_In_Error", customer=ids[4])
    for _ in range(2):
        error = task.fails("Opt_In_Error.*on the customer of row 5")
        assert not isinstance(error, AirflowFailException)
        assert opted_in(sessionm) == Counter(ids[:4])
    result = task.run()
    assert (result["opted_in"], result["codes"]) == (8, {"Opt_In_Error": 1})
    assert opted_in(sessionm) == Counter({*ids} - {ids[4]})


def test_what_passed_is_no_refusal(sessionm: SessionMSandbox) -> None:
    ids = ids_of(sessionm, 9)
    task = Task(SessionMOptInOperator, campaign_id=1, external_ids=ids)
    sessionm.refuse("opt_in", "opt_in_error", customer=ids[4], times=1)
    task.fails("opt_in_error")
    result = task.run()
    assert (result["opted_in"], result["refused"], result["resumed"]) == (9, 0, 4)
    assert opted_in(sessionm) == Counter(ids)


def test_who_was_done_is_not_opted_in_again_where_airflow_fails_behind_the_task(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMOptInOperator, campaign_id=1, external_ids=ids_of(sessionm, 5))
    assert task.run()["calls"] == 5
    again = task.run()
    assert (again["opted_in"], again["resumed"], again["calls"]) == (5, 5, 0)
    # Cleared, it asks about everybody.
    task.clear()
    assert (again["opted_in"], task.run()["calls"]) == (5, 5)
    assert set(opted_in(sessionm).values()) == {1}


# Creating


def test_a_campaign_is_created(sessionm: SessionMSandbox) -> None:
    asset = Asset("campaigns")
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN, outlets=[asset])
    task.outlet_events = {asset: SimpleNamespace(extra={})}
    result = task.run()
    (created,) = sessionm.created
    assert result == {"id": 46, "external_id": created["external_id"], "name": "Winter", "status": "live"}
    assert {name: created[name] for name in CAMPAIGN} == CAMPAIGN
    assert task.outlet_events[asset].extra == result


def test_its_external_id_is_the_same_at_each_try_and_no_others(sessionm: SessionMSandbox) -> None:
    sent = set()
    others: list[dict[str, Any]] = [{}, {"run_id": "r2"}, {"map_index": 1}, {"task_id": "t2"}, {"dag_id": "d2"}]
    for name, names in enumerate(others):
        task = Task(SessionMCreateCampaignOperator, campaign={**CAMPAIGN, "name": f"Winter {name}"})
        task.names |= names
        sessionm.fail("create_campaign", status=429, times=5)
        task.fails("429")
        sent.add(task.run()["external_id"])
    assert len(sent) == 5
    asked = [call for call in sessionm.calls if call.function == "campaign_info"]
    assert asked == []


@pytest.mark.parametrize(("given", "kept"), [({"external_id": "mine"}, "mine"), ({"permalink": "link"}, "link")])
def test_an_own_id_is_kept(sessionm: SessionMSandbox, given: dict[str, Any], kept: str) -> None:
    assert Task(SessionMCreateCampaignOperator, campaign={**CAMPAIGN, **given}).run()["external_id"] == kept
    assert sessionm.created[0]["external_id"] == kept


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize(("drop", "created"), [("after", True), ("before", False)])
def test_a_campaign_in_doubt_is_asked_for(sessionm: SessionMSandbox, drop: str, created: bool, memory: bool) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN)
    if not memory:
        task.state = None
    sessionm.fail("create_campaign", drop=drop)
    error = task.fails("the next try asks SessionM first whether it happened")
    assert not isinstance(error, AirflowFailException)
    assert len(sessionm.created) == created
    result = task.run()
    assert result == {"id": 46, "external_id": sessionm.created[0]["external_id"], "name": "Winter", "status": "live"}
    assert len(sessionm.created) == 1
    assert [call.function for call in sessionm.calls].count("create_campaign") == (1 if created else 2)


def test_other_attributes_after_a_doubt(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN)
    sessionm.fail("create_campaign", drop="after")
    task.fails("the next try asks")
    other = {**CAMPAIGN, "name": "Spring", "external_id": "spring-27"}
    error = task.fails("the arguments are not those of the earlier try", campaign=other)
    assert isinstance(error, AirflowFailException)
    assert task.run(on_uncertain="resend")["name"] == "Spring"
    assert [campaign["name"] for campaign in sessionm.created] == ["Winter", "Spring"]


@pytest.mark.parametrize("memory", [True, False])
def test_a_campaign_with_other_attributes_is_another_one(sessionm: SessionMSandbox, memory: bool) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN, durable=memory)
    sessionm.fail("create_campaign", drop="after")
    task.fails("the next try asks")
    spring = {**CAMPAIGN, "name": "Spring"}
    if memory:
        task.fails("the arguments are not those of the earlier try", campaign=spring)
    created = task.run(campaign=spring, on_uncertain="resend")
    assert created["name"] == "Spring"
    assert [campaign["name"] for campaign in sessionm.created] == ["Winter", "Spring"]
    assert created["external_id"] == sessionm.created[1]["external_id"] != sessionm.created[0]["external_id"]


def test_a_campaign_is_the_same_however_its_times_are_written(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN)
    sessionm.fail("create_campaign", drop="after")
    task.fails("the next try asks")
    starts_at = datetime.datetime(2026, 11, 20, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    task.run(campaign={**dict(reversed(CAMPAIGN.items())), "starts_at": starts_at})
    assert len(sessionm.created) == 1


def test_somebody_elses_campaign_is_not_the_one_in_doubt(sessionm: SessionMSandbox) -> None:
    theirs = sessionm.campaigns[1].permalink
    task = Task(SessionMCreateCampaignOperator, campaign={**CAMPAIGN, "external_id": theirs})
    sessionm.fail("create_campaign", drop="before")
    task.fails("the next try asks SessionM first")
    error = task.fails(
        f"another campaign has the external_id '{theirs}': its starts_at is .*Z in SessionM, and 2026-11-20T00:00:00Z"
        " here, its ends_at is .*Z in SessionM, and 2099-12-24T00:00:00Z here .UTC.. Nothing was created now"
    )
    assert isinstance(error, AirflowFailException)
    assert sessionm.created == []


def test_an_answer_without_a_campaign_settles_no_doubt(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN)
    sessionm.fail("create_campaign", drop="before")
    task.fails("the next try asks SessionM first")
    sessionm.fail("campaign_info", body='{"status": "ok", "campaign": {}}')
    error = task.fails("SessionM's answer about it has no id. Nothing was created now; the next try asks again")
    assert not isinstance(error, AirflowFailException)
    assert error.may_have_happened
    assert sessionm.created == []
    assert task.run()["external_id"] == sessionm.created[0]["external_id"]


def test_an_own_id_in_doubt_is_found_again(sessionm: SessionMSandbox) -> None:
    starts_at = "2026-11-20T05:30:00+05:30"
    task = Task(SessionMCreateCampaignOperator, campaign={**CAMPAIGN, "external_id": "mine", "starts_at": starts_at})
    sessionm.fail("create_campaign", drop="after")
    task.fails("the next try asks SessionM first")
    assert task.run()["external_id"] == "mine"
    assert len(sessionm.created) == 1


def test_nobody_else_has_an_id_that_the_task_made(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN)
    sessionm.fail("create_campaign", drop="after")
    task.fails("the next try asks SessionM first")
    # In whatever form SessionM answers times.
    sessionm.campaigns[46].starts_at += datetime.timedelta(hours=5)
    assert task.run()["id"] == 46


def test_a_campaign_that_the_question_does_not_find(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign={**CAMPAIGN, "status": "draft"})
    sessionm.fail("create_campaign", drop="after")
    task.fails("the next try asks SessionM first")
    sessionm.refuse("campaign_info", "No_active_campaign_found")
    error = task.fails("validation.*an earlier try may have created it all the same")
    assert isinstance(error, AirflowFailException)
    # Without a question, nothing of an earlier try.
    other = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN)
    assert "an earlier try" not in str(other.fails("validation"))


@pytest.mark.parametrize("memory", [True, False])
def test_a_task_that_is_cleared_after_its_success(sessionm: SessionMSandbox, memory: bool) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign=CAMPAIGN, durable=memory)
    created = task.run()
    assert task.run() == created
    task.clear()
    if memory:
        task.fails("validation: Validation error: name")
    else:
        assert task.run() == created
    assert len(sessionm.created) == 1


def test_a_campaign_that_is_refused(sessionm: SessionMSandbox) -> None:
    task = Task(SessionMCreateCampaignOperator, campaign={**CAMPAIGN, "name": "Campaign 1"})
    error = task.fails("validation")
    assert isinstance(error, AirflowFailException)
    # Mended and cleared, it is created.
    assert task.run(campaign=CAMPAIGN)["name"] == "Winter"


@pytest.mark.parametrize(
    ("campaign", "said"),
    [
        ("{'name': 'A'}", "campaign: expected an object .*, got text. Pass .* set render_template_as_native_obj=True"),
        (["name"], "campaign: expected a mapping, got list"),
        ({"name": "A"}, "ends_at: missing"),
        ({**CAMPAIGN, "external_id": ".."}, "external_id: .. cannot stand in an address"),
        ({**CAMPAIGN, "optin_required": "None"}, "optin_required: expected true or false, got 'None'"),
    ],
)
def test_a_campaign_that_is_not_valid(sessionm: SessionMSandbox, campaign: Any, said: str) -> None:
    refused_unsent(sessionm, said, Task(SessionMCreateCampaignOperator, campaign=campaign).run)


# In Airflow

DAG = """
import pendulum
from airflow.providers.common.compat.sdk import Asset, dag, task
from airflow_provider_optimove.operators.sessionm import SessionMCreateCampaignOperator, SessionMOptInOperator

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), default_args={"retries": 1})
def opting_in():
    @task
    def customers():
        return ["C0000017", "C0000018"]

    created = SessionMCreateCampaignOperator(
        task_id="create",
        campaign={
            "name": "Winter {{ 2000 + 26 }}",
            "status": "live",
            "starts_at": "2026-11-20T00:00:00Z",
            "ends_at": "2099-12-24T00:00:00Z",
            "optin_required": True,
        },
    )
    created >> SessionMOptInOperator(
        task_id="opt_in",
        campaign_id="{{ ti.xcom_pull(task_ids='create')['id'] }}",
        external_ids=customers(),
        results_path="{{ params.folder }}/results.jsonl",
        outlets=[Asset("opt_ins")],
    )
    SessionMOptInOperator(task_id="of_a_list", campaign_id=10, external_ids=["C0000001", "C0000002", "C0000003"])
    SessionMOptInOperator.partial(task_id="mapped", external_ids=["C0000004"]).expand(campaign_id=[19, 28])

opting_in()
"""


def test_tasks(sessionm: SessionMSandbox, run_dag: Any, asset_events: Any, tmp_path: Path) -> None:
    asset_events.expect("opt_ins")
    run = run_dag(DAG, {"folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    created = run.xcom("create")
    assert (created["id"], created["name"]) == (46, "Winter 2026")
    counts = {"customers": 2, "opted_in": 2, "refused": 0, "codes": {}, "calls": 2, "resumed": 0}
    assert run.xcom("opt_in") == {"campaign_id": 46, **counts}
    assert asset_events.of("opt_ins") == [{"campaign_id": 46, **counts}]
    assert run.rendered("of_a_list")["external_ids"] == "3 rows"
    assert [run.xcom("mapped", map_index=index)["campaign_id"] for index in (0, 1)] == [19, 28]
    assert Counter(opt_in.campaign_id for opt_in in sessionm.opt_ins) == {46: 2, 10: 3, 19: 1, 28: 1}
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


RETRIED = """
import pendulum
from airflow.providers.common.compat.sdk import dag
from airflow_provider_optimove.operators.sessionm import SessionMOptInOperator

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), default_args={"retries": 2})
def retried_opt_in():
    eligible = [f"C{number:07}" for number in range(66) if number % 10 != 9]
    SessionMOptInOperator(task_id="opt_in", campaign_id=1, external_ids=eligible)

retried_opt_in()
"""


def test_a_retry_in_airflow(sessionm: SessionMSandbox, run_dag: Any) -> None:
    sessionm.fail("opt_in", drop="after", after=54)
    run = run_dag(RETRIED)
    assert run.states == {"opt_in": "success"}
    assert run.task_instances[0].try_number == 2
    assert opted_in(sessionm) == Counter(set(ids_of(sessionm, 66)) - set(ids_of(sessionm, 66)[9::10]))
    result = run.xcom("opt_in")
    assert (result["opted_in"], result["resumed"]) == (60, 54 if AIRFLOW_V_3_3_PLUS else 0)
    # Without Airflow's task state everybody is asked for.
    asked = [call.function for call in sessionm.calls].count("progress")
    assert asked == (1 if AIRFLOW_V_3_3_PLUS else 60)


def test_no_secret_and_no_customer_in_what_a_run_writes(
    sessionm: SessionMSandbox,
    run_dag: Any,
    airflow_db: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    basic = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    echo = f"cannot serve {KEY} ({quote(KEY, safe='')}) with {SECRET}, {basic}"
    sessionm.fail("opt_in", status=429, body=echo, times=5)
    sessionm.fail("opt_in", body=json.dumps({"status": "error", "errors": {"code": "odd", "message": echo}}))
    sessionm.fail("opt_in", status=500, body=echo, after=20)
    sessionm.fail("progress", status=403, body=echo)
    run = run_dag(RETRIED)
    assert run.states == {"opt_in": "failed"}
    said = said_in(caplog, capfd)
    assert "cannot serve ***" in said
    forms = forms_of(KEY, SECRET, basic)
    assert [form for form in forms if form in said] == []
    written = rows_about(airflow_db, "retried_opt_in")
    assert [form for form in (*forms, "C0000017") if form in written] == []
