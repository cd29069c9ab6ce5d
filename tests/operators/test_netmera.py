"""NetmeraPushEventOperator: what it pushes, what it never pushes twice over its tries, and what Airflow shows of it."""

from __future__ import annotations

import datetime
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.exceptions import NetmeraError, OptimoveInputError
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator
from airflow_provider_optimove.sandbox import NetmeraSandbox
from tests.written import forms_of, said_in

# Masked by nothing but the provider's own care: too odd for any pattern.
APP_KEY, API_KEY = "fake+app=key&71c3", "fake/rest+key=93c2"
MOMENT = "2026-11-20 08:04:54"
BULK: dict[str, Any] = {"event_type": "bulk", "campaign_id": 6577, "channel_id": 459, "timestamp": MOMENT}
PUSHED = {"event_type": 13, "campaign_id": 6577, "channel_id": 459, "timestamp": MOMENT}
SENT = {"eventTypeId": 13, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 459}
CUSTOMER = {"customerID": "C0000017", "isVisitor": False, "personalization": {"personalInfo": {"City": "Köln"}}}
EXECUTED = (13, {"EventTypeID": 13, "TimeStamp": MOMENT, "CampaignID": 6577, "ChannelID": 459})


class Killed(BaseException):
    """What a worker that is killed does not live to see."""


class TaskState:
    """Airflow's task state: JSON that outlives tries."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.before_write: Callable[[], None] = lambda: None

    def get(self, key: str) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else None

    def set(self, key: str, value: Any, *, retention: datetime.timedelta | None = None) -> None:
        self.before_write()
        self.kept[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


class Task:
    """A push and its tries.

    :param events: types and payloads of the events that started its run.
    :param arguments: the operator's.
    """

    def __init__(self, *events: tuple[int, Mapping[str, Any]], **arguments: Any) -> None:
        self.arguments = arguments
        self.events = [
            SimpleNamespace(extra={"event_type": event_type, "payload": dict(payload)}, timestamp=number)
            for number, (event_type, payload) in enumerate(events)
        ]
        self.state: TaskState | None = TaskState()
        self.tries = 0

    def run(self, **changed: Any) -> dict[str, Any]:
        self.tries += 1
        self.arguments |= changed
        context: dict[str, Any] = {
            "ti": SimpleNamespace(try_number=self.tries),
            "triggering_asset_events": {"optimove_event": self.events},
            "task_state_store": self.state,
        }
        return NetmeraPushEventOperator(task_id="push", **self.arguments).execute(context)  # type: ignore[arg-type]

    def fails(self, words: str, **changed: Any) -> NetmeraError:
        with pytest.raises(NetmeraError, match=words) as caught:
            self.run(**changed)
        return caught.value

    def dies(self) -> None:
        with pytest.raises(Killed):
            self.run()


@pytest.fixture(autouse=True)
def netmera(monkeypatch: pytest.MonkeyPatch) -> Iterator[NetmeraSandbox]:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    with NetmeraSandbox(app_key=APP_KEY, api_key=API_KEY) as running:
        monkeypatch.setenv("AIRFLOW_CONN_NETMERA_DEFAULT", running.connection)
        yield running


def kill_on_arrival(netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies between the arrival of a push and its answer."""
    send = "airflow_provider_optimove.clients.netmera.NetmeraClient.send"
    original = NetmeraPushEventOperator(task_id="x").hook.client.__class__.send

    def sent_and_killed(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        monkeypatch.setattr(send, original)
        raise Killed

    monkeypatch.setattr(send, sent_and_killed)


# What it pushes


@pytest.mark.parametrize("event_type", [13, "13", "bulk", "Bulk"])
def test_arguments_are_pushed(netmera: NetmeraSandbox, event_type: Any) -> None:
    task = Task(**{**BULK, "event_type": event_type, "campaign_id": "6577", "channel_id": "459"})
    assert task.run() == {"pushed": [PUSHED]}
    assert netmera.pushes == [SENT]
    assert task.state is not None
    assert task.state.kept == {}


def test_a_single_event_has_its_customer(netmera: NetmeraSandbox) -> None:
    result = Task(**{**BULK, "event_type": "single"}, additional_fields=CUSTOMER).run()
    assert netmera.pushes == [{**SENT, "eventTypeId": 11, **CUSTOMER}]
    assert result == {"pushed": [{**PUSHED, "event_type": 11}]}


def test_without_event_type_the_event_of_the_run_is_pushed(netmera: NetmeraSandbox) -> None:
    arguments = dict.fromkeys(("event_type", "campaign_id", "channel_id", "timestamp", "additional_fields"))
    assert Task(EXECUTED, **arguments).run() == {"pushed": [PUSHED]}
    assert netmera.pushes == [SENT]


@pytest.mark.parametrize("text", ["", " ", "None"])
@pytest.mark.parametrize("name", ["event_type", "campaign_id", "channel_id", "timestamp", "additional_fields"])
def test_text_of_nothing_is_no_argument_left_out(netmera: NetmeraSandbox, name: str, text: str) -> None:
    with pytest.raises(OptimoveInputError, match=f"\n  {name}: "):
        Task(EXECUTED, **{name: text}).run()
    with pytest.raises(OptimoveInputError, match=f"\n  {name}: |{name}: expected an object"):
        Task(EXECUTED, **{**BULK, name: text}).run()
    assert netmera.calls == []


def test_what_the_event_does_not_name_is_given(netmera: NetmeraSandbox) -> None:
    event = (4, {"EventTypeID": 4, "TimeStamp": MOMENT, "CampaignID": 6577})
    Task(event, channel_id="481").run()
    assert netmera.pushes == [{**SENT, "eventTypeId": 4, "channelId": 481}]
    with pytest.raises(OptimoveInputError, match="channel_id: the event names none"):
        Task(event).run()


def single(number: int) -> dict[str, Any]:
    """What Netmera is told of one of the customers."""
    return {**SENT, "eventTypeId": 11, "customerID": f"C{number}", "templateID": 45901}


def of_customers(count: int) -> Task:
    """Events 11 as Optimove's guide has them."""
    event = {"channelID": 459, "templateID": 45901, "TimeStamp": MOMENT}
    return Task(*((11, {"customerID": f"C{number}", **event}) for number in range(1, count + 1)), campaign_id=6577)


def test_all_events_of_a_run_are_pushed_in_their_order(netmera: NetmeraSandbox) -> None:
    result = of_customers(3).run()
    assert netmera.pushes == [single(number) for number in (1, 2, 3)]
    assert result == {"pushed": [{**PUSHED, "event_type": 11}] * 3}


def test_all_events_are_checked_before_the_first_leaves(netmera: NetmeraSandbox) -> None:
    task = of_customers(3)
    task.events[2].extra["payload"]["channelID"] = "ada@example.com"
    with pytest.raises(OptimoveInputError, match="ChannelID: expected a whole number") as caught:
        task.run()
    assert "ada@example.com" not in str(caught.value)
    assert netmera.calls == []


# Arguments that are not valid


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({**BULK, "event_type": 3}, "event_type: expected 4 or 'cancelled'"),
        ({**BULK, "channel_id": None}, "channel_id: expected a whole number"),
        ({**BULK, "additional_fields": CUSTOMER}, "additional_fields: only event 11"),
        ({**BULK, "event_type": 11, "additional_fields": "{'customerID': 'C1'}"}, "render_template_as_native_obj"),
        ({"timestamp": MOMENT}, "timestamp: only with event_type"),
        ({"timestamp": MOMENT, "additional_fields": CUSTOMER}, "timestamp, additional_fields: only with event_type"),
        ({"channel_id": 481}, "channel_id: the event names 459, not 481"),
    ],
)
def test_bad_arguments_end_the_task(netmera: NetmeraSandbox, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptimoveInputError, match=problem) as caught:
        Task(EXECUTED, **arguments).run()
    assert isinstance(caught.value, AirflowFailException)
    assert netmera.calls == []


def test_without_an_event_it_says_what_started_the_run(netmera: NetmeraSandbox) -> None:
    with pytest.raises(OptimoveInputError, match="no event of Optimove's started this run") as caught:
        Task().run()
    assert isinstance(caught.value, AirflowFailException)
    assert netmera.calls == []


def test_choices_are_checked_when_the_dag_is_read() -> None:
    with pytest.raises(OptimoveInputError, match="on_uncertain: expected 'fail' or 'resend', got 'again'"):
        NetmeraPushEventOperator(task_id="push", on_uncertain="again")  # type: ignore[arg-type]


# What is never pushed twice


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 500, "takes_effect": True}])
def test_a_lost_answer_leaves_it_in_doubt(netmera: NetmeraSandbox, fault: dict[str, Any]) -> None:
    netmera.fail("push_event", **fault)
    task = Task(**BULK)
    error = task.fails("not sent again because a second one may push twice")
    assert isinstance(error, AirflowFailException)
    assert error.may_have_happened
    assert "Look at the campaign in Netmera's panel" in str(error)
    assert "mark the task as success" in str(error)
    assert str(error).count("may push twice") == 1
    for _ in range(2):
        assert "Nothing was sent now" in str(task.fails("the earlier try ended while it sent"))
    assert netmera.pushes == [SENT]


def test_a_doubt_names_the_push_that_it_is_about(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", drop="after")
    task = Task(EXECUTED)
    which = f"event 13 of campaign 6577 on channel 459, {MOMENT} UTC"
    assert str(task.fails(rf"\(it was {which}\)")).count(which) == 1
    later = str(task.fails(rf"\(this try was to push {which}; the log of an earlier one tells what that pushed"))
    assert later.count(which) == 1


def test_a_doubt_about_an_earlier_try_does_not_tell_the_time_of_this_one(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", drop="after")
    task = Task(**{**BULK, "timestamp": None})
    error = task.fails("may push twice")
    (push,) = netmera.pushes
    assert f"(it was event 13 of campaign 6577 on channel 459, {push['timeStamp']} UTC)" in str(error)
    task.fails(r"\(this try was to push event 13 of campaign 6577 on channel 459; the log of an earlier one tells")


def test_the_log_names_the_push_before_it_leaves(
    netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "airflow_provider_optimove")
    which = f"event 13 of campaign 6577 on channel 459, {MOMENT} UTC"

    def logged() -> list[str]:
        return [message for message in caplog.messages if which in message]

    said_when_it_left: list[list[str]] = []
    exchange = "airflow_provider_optimove.clients.netmera.NetmeraClient._exchange"
    original = NetmeraPushEventOperator(task_id="x").hook.client.__class__._exchange

    def noted(*arguments: Any, **options: Any) -> Any:
        said_when_it_left.append(logged())
        return original(*arguments, **options)

    monkeypatch.setattr(exchange, noted)
    Task(**BULK).run()
    assert said_when_it_left == [[f"push_event: pushing {which}"]]
    assert logged() == [f"push_event: pushing {which}", f"push_event: Netmera has {which}"]


def test_in_doubt_it_is_pushed_again_where_that_is_wanted(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", drop="before")
    task = Task(**BULK)
    task.fails("may push twice")
    assert task.run(on_uncertain="resend") == {"pushed": [PUSHED]}
    assert netmera.pushes == [SENT]


def test_with_resend_it_is_pushed_again_at_once(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", drop="after", times=2)
    assert Task(**BULK, on_uncertain="resend").run() == {"pushed": [PUSHED]}
    assert netmera.pushes == [SENT] * 3


def test_with_resend_a_server_that_keeps_failing_is_asked_again_by_the_next_try(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", status=500, times=5)
    task = Task(**BULK, on_uncertain="resend")
    assert not isinstance(task.fails("tried 5 times"), AirflowFailException)
    assert task.run() == {"pushed": [PUSHED]}


def test_a_killed_worker_leaves_it_in_doubt(netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_on_arrival(netmera, monkeypatch)
    task = Task(**BULK)
    task.dies()
    task.fails("the earlier try ended while it sent; nobody knows whether it arrived")
    assert netmera.pushes == [SENT]


def test_the_time_of_a_try_does_not_make_it_another_push(
    netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter([MOMENT, "2026-11-20 08:09:54"])
    monkeypatch.setattr("airflow_provider_optimove.clients.netmera._utc_time", lambda moment: next(tries))
    kill_on_arrival(netmera, monkeypatch)
    task = Task(**{**BULK, "timestamp": None})
    task.dies()
    task.fails("the earlier try ended while it sent")
    assert netmera.pushes == [SENT]
    assert not [*tries]


@pytest.mark.parametrize(
    "changed",
    [
        {"timestamp": "2026-11-21 08:04:54"},
        {"campaign_id": 6578},
        {"channel_id": 481},
        {"event_type": 4},
        {"netmera_conn_id": "another_app"},
    ],
)
def test_other_arguments_are_another_push(
    netmera: NetmeraSandbox, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    fields = {**json.loads(netmera.connection), "login": "another-fake-app"}
    monkeypatch.setenv("AIRFLOW_CONN_ANOTHER_APP", json.dumps(fields))
    kill_on_arrival(netmera, monkeypatch)
    task = Task(**BULK)
    task.dies()
    task.fails(
        "not those of the earlier try, or the connection's account is another; what that try was for may", **changed
    )
    assert netmera.pushes == [SENT]


def test_what_was_taken_is_not_pushed_again_when_the_end_of_the_task_fails(netmera: NetmeraSandbox) -> None:
    task = Task(**{**BULK, "timestamp": None})
    assert task.state is not None
    delete, task.state.delete = task.state.delete, _failing  # type: ignore[method-assign]
    task.fails("it was sent. Was the task cleared")
    task.state.delete = delete  # type: ignore[method-assign]
    result = task.run()
    (push,) = netmera.pushes
    # What was told then, not what would be told now.
    assert result["pushed"] == [{**PUSHED, "timestamp": push["timeStamp"]}]
    assert task.state.kept == {}


def _failing(key: str) -> None:
    raise ConnectionError("the API server is away")


@pytest.mark.parametrize(("fault", "ends"), [({"status": 400}, True), ({"status": 429, "times": 5}, False)])
def test_what_surely_did_not_happen_is_not_in_doubt(netmera: NetmeraSandbox, fault: dict[str, Any], ends: bool) -> None:
    netmera.fail("push_event", **fault)
    task = Task(**BULK)
    assert isinstance(task.fails("push_event"), AirflowFailException) is ends
    assert task.run(campaign_id=6578)["pushed"][0]["campaign_id"] == 6578
    assert len(netmera.pushes) == 1


def test_a_cleared_success_pushes_again(netmera: NetmeraSandbox) -> None:
    task = Task(**BULK)
    task.run()
    task.run()
    assert netmera.pushes == [SENT, SENT]


def test_without_a_task_state_a_second_try_pushes_nothing(netmera: NetmeraSandbox) -> None:
    for durable, state in ((True, None), (False, TaskState())):
        task = Task(**BULK, durable=durable)
        task.state = state
        netmera.fail("push_event", status=429, times=5)
        task.fails("too many calls")
        task.fails("this is not the first try, and nothing tells what the earlier ones sent")
        assert netmera.pushes == []
        assert task.run(on_uncertain="resend") == {"pushed": [PUSHED]}
        netmera.pushes.clear()


def test_several_events_go_on_where_the_earlier_try_ended(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", status=400, body="No template", after=1)
    task = of_customers(3)
    error = task.fails("No template")
    assert "event 2 of 3: those before it were pushed, those after it were not sent by this try" in str(error)
    assert netmera.pushes == [single(1)]
    assert len(task.run()["pushed"]) == 3
    assert netmera.pushes == [single(number) for number in (1, 2, 3)]
    assert task.state is not None
    assert task.state.kept == {}


def test_of_several_events_only_the_one_in_doubt_is_pushed_again(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", drop="after", after=1)
    task = of_customers(3)
    for words in ("may push twice", "the earlier try ended while it sent"):
        error = task.fails(f"{words}.*event 2 of 3")
        # That would leave the third event out.
        assert "mark the task as success" not in str(error)
        assert "write that into netmera_push_2 as docs/netmera.md tells, and clear the task" in str(error)
        assert str(error).count("may push twice") == 1
    assert netmera.pushes == [single(1), single(2)]
    task.run(on_uncertain="resend")
    assert netmera.pushes == [single(number) for number in (1, 2, 2, 3)]


def test_an_event_is_the_same_whether_it_comes_alone(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", status=400, after=1)
    task = of_customers(2)
    task.fails("event 2 of 2")
    events = task.events
    task.events = events[:1]
    assert len(task.run()["pushed"]) == 1
    assert netmera.pushes == [single(1)]
    # And the other way round.
    task = of_customers(1)
    netmera.fail("push_event", drop="after")
    task.fails("may push twice")
    task.events = events
    task.fails("the earlier try ended while it sent")
    assert netmera.pushes == [single(1), single(1)]


def test_events_of_one_moment_in_another_order_are_the_same_events(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", status=400, after=1)
    task = of_customers(3)
    for event in task.events:
        event.timestamp = 7
    task.fails("event 2 of 3")
    task.events.reverse()
    assert len(task.run()["pushed"]) == 3
    assert netmera.pushes == [single(number) for number in (1, 2, 3)]


def test_a_refusal_does_not_settle_an_earlier_attempt(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", status=503, takes_effect=True)
    netmera.fail("push_event", status=400, body="No template")
    task = Task(**BULK, on_uncertain="resend")
    assert task.fails("No template").may_have_happened
    task.fails("the earlier try ended while it sent", on_uncertain="fail")
    assert netmera.pushes == [SENT]


def test_the_task_state_holds_nothing_of_a_customer(netmera: NetmeraSandbox) -> None:
    netmera.fail("push_event", drop="after", after=1)
    task = of_customers(2)
    task.fails("event 2 of 2")
    assert task.state is not None
    kept = " ".join([*task.state.kept, *task.state.kept.values()])
    assert set(task.state.kept) == {"netmera_push", "netmera_push_2"}
    assert [word for word in ("C1", "C2", "45901", APP_KEY, API_KEY) if word in kept] == []


# In Airflow

DAG = """
import pendulum
from airflow.providers.common.compat.sdk import Asset, dag, task
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator

CUSTOMER = {"customerID": "C0000017", "personalization": {"personalInfo": {"Name": "{{ 7*7 }}"}}}
ALIKE = {
    "event_type": "single",
    "campaign_id": "{{ 6000 + 577 }}",
    "channel_id": "459",
    "timestamp": "2026-11-20 08:04:54",
}

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), render_template_as_native_obj=NATIVE)
def DAG_ID():
    @task
    def customer():
        return CUSTOMER

    NetmeraPushEventOperator(
        task_id="given", additional_fields=CUSTOMER, outlets=[Asset("netmera_pushes")], **ALIKE
    ) >> NetmeraPushEventOperator(task_id="from_xcom", additional_fields=customer(), **ALIKE)
    NetmeraPushEventOperator.partial(task_id="mapped", **ALIKE).expand(additional_fields=[CUSTOMER])

DAG_ID()
"""


@pytest.mark.parametrize("native", [True, False])
def test_in_airflow_customers_pass_untouched_and_show_as_a_count(
    netmera: NetmeraSandbox, run_dag: Any, asset_events: Any, native: bool
) -> None:
    asset_events.expect("netmera_pushes")
    run = run_dag(DAG.replace("NATIVE", str(native)).replace("DAG_ID", f"netmera_{native}".lower()))
    assert set(run.states.values()) == {"success"}
    told = {"customerID": "C0000017", "personalization": {"personalInfo": {"Name": "{{ 7*7 }}"}}}
    assert netmera.pushes == [{**SENT, "eventTypeId": 11, **told}] * 3
    for task_id in ("given", "from_xcom", "mapped"):
        assert run.rendered(task_id)["additional_fields"] == "2 fields"
        assert str(run.rendered(task_id)["campaign_id"]) == "6577"
    assert run.xcom("given") == {"pushed": [{**PUSHED, "event_type": 11}]}
    assert asset_events.of("netmera_pushes") == [run.xcom("given")]


AS_TEXT = """
import pendulum
from airflow.providers.common.compat.sdk import dag
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1))
def a_customer_as_text():
    NetmeraPushEventOperator(
        task_id="push",
        event_type=11,
        campaign_id=6577,
        channel_id=459,
        additional_fields="{{ {'customerID': 'C0017'} }}",
    )

a_customer_as_text()
"""


def test_in_airflow_a_customer_who_became_text_is_not_shown(netmera: NetmeraSandbox, run_dag: Any) -> None:
    run = run_dag(AS_TEXT)
    assert run.states == {"push": "failed"}
    assert run.rendered("push")["additional_fields"] == "text of a list or an object"
    assert netmera.calls == []


ON_EVENT = """
import pendulum
from airflow.providers.common.compat.sdk import dag
from airflow_provider_optimove.assets.optimove import optimove_event
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator

@dag(schedule=optimove_event(13), start_date=pendulum.datetime(2026, 1, 1))
def push_what_optimove_executed():
    NetmeraPushEventOperator(task_id="push")

push_what_optimove_executed()
"""


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="events start DAGs on Airflow 3 only")
def test_an_event_of_optimoves_in_airflow(netmera: NetmeraSandbox, run_dag: Any) -> None:
    run = run_dag(ON_EVENT, event=EXECUTED)
    assert run.xcom("push") == {"pushed": [PUSHED]}
    assert netmera.pushes == [SENT]


RETRIED = """
import pendulum
from airflow.providers.common.compat.sdk import dag
from airflow_provider_optimove.operators.netmera import NetmeraPushEventOperator

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), default_args={"retries": 2})
def retried_push():
    NetmeraPushEventOperator(task_id="push", event_type=13, campaign_id=6577, channel_id=459)

retried_push()
"""


@pytest.mark.parametrize(
    ("fault", "pushes"), [({"drop": "after"}, 1), ({"status": 429}, 1 if AIRFLOW_V_3_3_PLUS else 0)]
)
def test_retries_in_airflow(
    netmera: NetmeraSandbox,
    run_dag: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    fault: dict[str, Any],
    pushes: int,
) -> None:
    caplog.set_level(logging.INFO)
    fields = {**json.loads(netmera.connection), "extra": {"retry_limit": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_NETMERA_DEFAULT", json.dumps(fields))
    netmera.fail("push_event", **fault)
    run = run_dag(RETRIED)
    in_doubt = "drop" in fault or not AIRFLOW_V_3_3_PLUS
    assert run.states == {"push": "failed" if in_doubt else "success"}
    if "drop" in fault:
        (push,) = netmera.pushes
        assert f"pushing event 13 of campaign 6577 on channel 459, {push['timeStamp']} UTC" in said_in(caplog, capfd)
    assert run.task_instances[0].try_number == (1 if "drop" in fault else 2)
    assert len(netmera.pushes) == pushes


def test_no_key_in_anything_that_a_run_writes(
    netmera: NetmeraSandbox,
    run_dag: Any,
    airflow_db: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"cannot serve {APP_KEY} ({quote(APP_KEY, safe='')}) with {API_KEY}"
    netmera.fail("push_event", status=429, body=echo)
    netmera.fail("push_event", status=400, body=echo)
    run = run_dag(RETRIED)
    assert run.states == {"push": "failed"}
    said = said_in(caplog, capfd)
    assert "cannot serve ***" in said
    forms = forms_of(APP_KEY, API_KEY)
    assert [form for form in forms if form in said] == []
    with sqlite3.connect(airflow_db) as database:
        written = "".join(database.iterdump())
    assert "retried_push" in written
    assert [form for form in forms if form in written] == []
