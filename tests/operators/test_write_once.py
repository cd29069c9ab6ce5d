"""One write over several tries: sent once, or in doubt and said so."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.clients.answers import Operation
from airflow_provider_optimove.exceptions import NetmeraError, OptimoveInputError, SessionMError, SystemBesideError
from airflow_provider_optimove.hooks.asset_events import add_to_asset_events
from airflow_provider_optimove.hooks.task_errors import ending_the_task, permanent_errors_end_the_task
from airflow_provider_optimove.operators.task_journal import is_retry, journal_of
from airflow_provider_optimove.operators.write_once import WriteOnce, fingerprint_of

PUSH = Operation("Netmera", "push_event", repeatable=False, twice="push twice")
KEY = "push"
FACTS = {"account": "https://netmera.example", "campaign": 221}
IN_DOUBT = partial(NetmeraError, "the connection broke", function="push_event", may_have_happened=True, permanent=True)
NOT_HAPPENED = partial(NetmeraError, "no connection", function="push_event")


def execute(
    operator: Any,
    context: Any,
    send: Callable[[], dict[str, Any]],
    facts: dict[str, Any],
    *,
    error: type[SystemBesideError] = NetmeraError,
    check: Callable[[], dict[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """What an operator does."""
    with permanent_errors_end_the_task():
        write = WriteOnce(
            PUSH,
            error=error,
            look_at="the report of campaign 221",
            fingerprint=fingerprint_of(PUSH, facts),
            journal=journal_of(context, KEY),
            durable=operator.durable,
            resend=operator.on_uncertain == "resend",
            earlier_tries=is_retry(context),
            log=operator.log,
        )
        answer = write.run(send, check)
        add_to_asset_events(context, operator.outlets, answer)
        write.finish()
    return answer


class Killed(BaseException):
    """What a worker that is killed does not live to see."""


class TaskState:
    """Airflow's task state: JSON that outlives tries."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.history: list[Any] = []
        self.away_after = 1_000

    def get(self, key: str) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else None

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        if len(self.history) >= self.away_after:
            raise ConnectionError("the API server is away")
        self.history.append(value.get("state", value))
        self.kept[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        if len(self.history) >= self.away_after:
            raise ConnectionError("the API server is away")
        self.kept.pop(key, None)


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, message: str, *arguments: Any) -> None:
        self.said.append(message % arguments)

    def warning(self, message: str, *arguments: Any) -> None:
        self.said.append(f"WARNING {message % arguments}")


class Task:
    """A task of one write and its tries."""

    def __init__(self, *, state: bool = True, check: bool = False) -> None:
        self.state = TaskState() if state else None
        self.operator = SimpleNamespace(durable=True, on_uncertain="fail", outlets=None, log=Log())
        self.facts: dict[str, Any] = dict(FACTS)
        self.sent: list[Any] = []
        self.tries = 0
        self.checks = 0
        self.checked: Any = check

    @property
    def said(self) -> str:
        return "\n".join(self.operator.log.said)

    def check(self) -> dict[str, Any] | None:
        self.checks += 1
        if isinstance(self.checked, Exception):
            raise self.checked
        return {"id": "found"} if self.sent else None

    def run(self, fails: BaseException | None = None, *, arrives: bool = True, **changed: Any) -> dict[str, Any]:
        """One try.

        :param fails: what sending raises.
        :param arrives: whether the write takes effect.
        """

        def send() -> dict[str, Any]:
            # What the next try would find, should this one die now.
            assert self.state is None or KEY in self.state.kept
            if arrives:
                self.sent.append(self.facts)
            if fails is not None:
                raise fails
            return {"id": len(self.sent)}

        self.tries += 1
        for name, value in changed.items():
            setattr(self.operator, name, value)
        context: dict[str, Any] = {"ti": SimpleNamespace(try_number=self.tries)}
        if self.state is not None:
            context["task_state_store"] = self.state
        context |= changed.get("context", {})
        check = self.check if self.checked else None
        return execute(self.operator, context, send, self.facts, check=check)

    def fails(self, error: BaseException, **changed: Any) -> BaseException:
        with pytest.raises(NetmeraError if isinstance(error, NetmeraError) else type(error)) as raised:
            self.run(error, **changed)
        return raised.value

    def is_in_doubt(self, what: str, **changed: Any) -> None:
        """A try that sends nothing, ends the task and says how to go on."""
        before = list(self.sent)
        with pytest.raises(NetmeraError, match=what) as raised:
            self.run(**changed)
        assert isinstance(raised.value, AirflowFailException)
        assert raised.value.may_have_happened
        assert raised.value.function == "push_event"
        assert "a second push_event may push twice. Look at the report of campaign 221" in str(raised.value)
        assert "clear the task with on_uncertain='resend'" in str(raised.value)
        assert self.sent == before


def die_at_the_asset_events(task: Task, error: BaseException) -> None:
    """A try that sends, and fails behind that."""

    class Events(dict[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            raise error

    task.operator.outlets = [Asset("pushes")]
    with pytest.raises(type(error)):
        task.run(context={"outlet_events": Events()})
    task.operator.outlets = None


def test_success_leaves_no_state_and_a_cleared_task_sends_again() -> None:
    task = Task()
    assert task.run() == {"id": 1}
    assert task.state is not None
    assert task.state.kept == {}
    assert task.state.history == ["sending", "sent"]
    task.tries = 0
    assert task.run() == {"id": 2}
    assert len(task.sent) == 2


def test_an_asset_hears_of_it_before_the_state_is_gone() -> None:
    task = Task()
    asset = Asset("pushes")
    event = SimpleNamespace(extra={})
    task.operator.outlets = [asset]
    task.run(context={"outlet_events": {asset: event}})
    assert event.extra == {"id": 1}


def test_what_was_sent_is_not_sent_again_whatever_fails_behind_it() -> None:
    task = Task()
    die_at_the_asset_events(task, RuntimeError("the database is away"))
    assert task.run() == {"id": 1}
    assert len(task.sent) == 1
    assert "push_event: an earlier try sent it, so nothing is sent now" in task.said
    assert task.state is not None
    assert task.state.kept == {}


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("death", [Killed(), RuntimeError("not told by the system")])
def test_a_try_that_died_while_it_sent_is_in_doubt(arrives: bool, death: BaseException) -> None:
    task = Task()
    task.fails(death, arrives=arrives)
    for _ in range(2):
        task.is_in_doubt("the earlier try ended while it sent; nobody knows whether it arrived. Nothing was sent now")
    sent = len(task.sent)
    assert task.run(on_uncertain="resend") == {"id": sent + 1}
    assert "WARNING push_event: the earlier try ended while it sent; nobody knows" in task.said
    assert task.said.endswith("sending it again")
    assert task.state is not None
    assert task.state.kept == {}


def test_a_lost_answer_is_in_doubt_at_once_and_later() -> None:
    task = Task()
    error = task.fails(ending_the_task(IN_DOUBT()))
    assert isinstance(error, AirflowFailException)
    assert "the connection broke (Look at the report of campaign 221 to see whether it arrived." in str(error)
    assert str(error).endswith("if it did, mark the task as success)")
    task.is_in_doubt("the earlier try ended while it sent")


@pytest.mark.parametrize("error", [NOT_HAPPENED(), OptimoveInputError("no such event type")])
def test_what_surely_did_not_happen_is_sent_by_the_next_try(error: Exception) -> None:
    task = Task()
    told = task.fails(error, arrives=False)
    assert "push twice" not in str(told)
    assert isinstance(told, AirflowFailException) == isinstance(error, OptimoveInputError)
    assert task.run() == {"id": 1}
    assert task.state is not None
    assert task.state.history == ["sending", "failed", "sending", "sent"]


def test_a_doubt_stays_when_the_second_time_surely_did_not_happen() -> None:
    task = Task()
    task.fails(Killed())
    task.fails(NOT_HAPPENED(), arrives=False, on_uncertain="resend")
    task.is_in_doubt("the earlier try ended while it sent", on_uncertain="fail")


@pytest.mark.parametrize(
    ("leave", "what"),
    [
        (
            lambda task: task.fails(Killed()),
            "or the connection's account is another; what that try was for may have been sent",
        ),
        (
            lambda task: die_at_the_asset_events(task, Killed()),
            "not those of the earlier try, .*; what that try was for was sent",
        ),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_another_write_after_one_that_was_sent(leave: Callable[[Task], Any], what: str, check: bool) -> None:
    task = Task(check=check)
    leave(task)
    task.facts["campaign"] = 222
    task.is_in_doubt(what)
    # It could only say whether this one happened.
    assert task.checks == 0
    assert task.run(on_uncertain="resend") == {"id": 2}
    assert [facts["campaign"] for facts in task.sent] == [222, 222]


def test_another_write_after_one_that_did_not_happen() -> None:
    task = Task()
    task.fails(NOT_HAPPENED(), arrives=False)
    task.facts = {**FACTS, "campaign": 222}
    assert task.run() == {"id": 1}


@pytest.mark.parametrize("kept", [{"durable": False}, {"offset": 5}, {}, [1], "sent", {"fingerprint": 1}])
def test_a_state_that_nobody_knows_is_a_doubt(kept: Any) -> None:
    task = Task()
    assert task.state is not None
    task.state.kept[KEY] = json.dumps(kept)
    task.is_in_doubt("was not recorded, or not in a form that is known")


@pytest.mark.parametrize("state", [True, False])
def test_without_memory_a_second_try_is_in_doubt(state: bool) -> None:
    task = Task(state=state)
    task.fails(NOT_HAPPENED(), durable=not state, arrives=False)
    task.is_in_doubt("this is not the first try, and nothing tells what the earlier ones sent")
    assert task.run(on_uncertain="resend") == {"id": 1}


def test_a_first_try_without_memory_sends() -> None:
    task = Task(state=False)
    assert task.run() == {"id": 1}


def test_a_try_that_remembers_after_one_that_did_not() -> None:
    task = Task()
    task.fails(Killed(), durable=False)
    assert task.state is not None
    assert task.state.history == [{"durable": False}]
    task.is_in_doubt("was not recorded", durable=True)


def test_a_try_that_does_not_remember_leaves_nothing_when_it_is_done() -> None:
    task = Task()
    assert task.run(durable=False) == {"id": 1}
    assert task.state is not None
    assert task.state.kept == {}


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("arrives", [True, False])
def test_the_system_is_asked_whether_it_happened(state: bool, arrives: bool) -> None:
    task = Task(state=state, check=True)
    told = task.fails(ending_the_task(IN_DOUBT()), arrives=arrives)
    # Airflow is to try again.
    assert not isinstance(told, AirflowFailException)
    assert str(told) == "push_event: the connection broke (the next try asks Netmera first whether it happened)"
    assert task.checks == 0
    assert task.run() == ({"id": "found"} if arrives else {"id": 1})
    assert task.checks == 1
    assert len(task.sent) == 1
    assert f"Netmera says that it did{'' if arrives else ' not'}" in task.said


def test_the_system_is_asked_before_anything_is_sent_again() -> None:
    task = Task(check=True)
    task.fails(Killed())
    assert task.run(on_uncertain="resend") == {"id": "found"}
    assert len(task.sent) == 1


def test_what_the_check_found_is_kept() -> None:
    task = Task(check=True)
    task.fails(Killed())
    die_at_the_asset_events(task, RuntimeError("away"))
    assert task.run() == {"id": "found"}
    assert task.checks == 1


def test_a_check_that_fails_sends_nothing_and_settles_nothing() -> None:
    task = Task(check=True)
    task.fails(Killed())
    task.checked = NetmeraError("no connection", function="campaign_info")
    for _ in range(2):
        with pytest.raises(NetmeraError, match="campaign_info: no connection"):
            task.run()
    task.checked = True
    assert task.run() == {"id": "found"}


def test_nothing_is_asked_where_nothing_is_in_doubt() -> None:
    task = Task(check=True)
    task.fails(NOT_HAPPENED(), arrives=False)
    assert task.run() == {"id": 1}
    assert task.checks == 0


def test_an_error_that_airflow_tries_again_keeps_what_it_knows() -> None:
    error = SessionMError("the server failed", function="create_campaign", status=500, may_have_happened=True)
    error.code = "timeout"
    task = Task(check=True)

    def send() -> Any:
        raise error

    with pytest.raises(SessionMError) as raised:
        execute(task.operator, {}, send, FACTS, error=SessionMError, check=task.check)
    told = raised.value
    assert (told.code, told.status, told.may_have_happened, told.permanent) == ("timeout", 500, True, False)


def test_nothing_is_sent_that_cannot_be_recorded() -> None:
    task = Task()
    assert task.state is not None
    task.state.away_after = 0
    with pytest.raises(NetmeraError, match=r"nothing was sent.*ConnectionError: the API server is away") as raised:
        task.run()
    assert task.sent == []
    assert not raised.value.may_have_happened
    assert not isinstance(raised.value, AirflowFailException)


def test_an_answer_that_cannot_be_recorded_leaves_a_doubt() -> None:
    task = Task()
    assert task.state is not None
    task.state.away_after = 1
    with pytest.raises(NetmeraError, match="it was sent") as raised:
        task.run()
    assert raised.value.may_have_happened
    task.state.away_after = 1_000
    task.is_in_doubt("the earlier try ended while it sent")


def test_a_state_that_cannot_be_removed_sends_nothing_again() -> None:
    task = Task()
    assert task.state is not None
    task.state.away_after = 2
    for _ in range(2):
        with pytest.raises(NetmeraError, match="it was sent") as raised:
            task.run()
        assert raised.value.may_have_happened
    task.state.away_after = 1_000
    assert task.run() == {"id": 1}
    assert len(task.sent) == 1


def test_the_error_in_hand_is_told_where_the_state_cannot_be_kept() -> None:
    task = Task()
    assert task.state is not None
    task.state.away_after = 1
    with pytest.raises(NetmeraError, match="no connection"):
        task.run(NOT_HAPPENED(), arrives=False)
    assert "WARNING the progress could not be recorded" in task.said.replace("push_event: ", "")


def test_what_tells_writes_apart() -> None:
    again = Operation("Netmera", "push_event", repeatable=True)
    same = fingerprint_of(PUSH, {"a": 1, "b": {"c": 2, "d": 3}})
    assert fingerprint_of(again, {"b": {"d": 3, "c": 2}, "a": 1}) == same
    others = [
        fingerprint_of(PUSH, {"a": 2, "b": {"c": 2, "d": 3}}),
        fingerprint_of(PUSH, {"a": 1, "b": {"c": 2}}),
        fingerprint_of(Operation("Netmera", "other", repeatable=False), {"a": 1, "b": {"c": 2, "d": 3}}),
    ]
    assert len({same, *others}) == 4
    assert len(same) == 64


DAG = """
import pendulum
from pathlib import Path
from airflow.providers.common.compat.sdk import Asset, BaseOperator, DAG
from airflow_provider_optimove.clients.answers import Operation
from airflow_provider_optimove.exceptions import NetmeraError
from airflow_provider_optimove.hooks.asset_events import add_to_asset_events
from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task
from airflow_provider_optimove.operators.task_journal import is_retry, journal_of
from airflow_provider_optimove.operators.write_once import WriteOnce

PUSH = Operation("Netmera", "push_event", repeatable=False, twice="push twice")


class PushOperator(BaseOperator):
    def __init__(self, *, dies=None, **kwargs):
        super().__init__(**kwargs)
        self.dies = dies

    def execute(self, context):
        with permanent_errors_end_the_task():
            write = WriteOnce(
                PUSH,
                error=NetmeraError,
                look_at="the report",
                fingerprint="221",
                journal=journal_of(context, "push"),
                durable=True,
                resend=False,
                earlier_tries=is_retry(context),
                log=self.log,
            )
            self.tell(f"try {{is_retry(context)}}")
            answer = write.run(self.send)
            self.tell(str(context["task_state_store"].get("push")["state"]))
            if self.dies == "behind" and not is_retry(context):
                raise RuntimeError("behind the write")
            add_to_asset_events(context, self.outlets, answer)
            write.finish()
        self.tell("finished_by_try" in context["task_state_store"].get("push") and "done")
        return answer

    def send(self):
        self.tell("send")
        if self.dies == "while":
            raise RuntimeError("while it sent")
        return {{"campaign": 221}}

    def tell(self, what):
        with open(Path("{folder}") / self.task_id, "a") as file:
            file.write(what + "; ")


with DAG("pushes", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), schedule=None):
    PushOperator(task_id="once", outlets=[Asset("pushes")])
    PushOperator(task_id="behind", dies="behind", retries=2)
    PushOperator(task_id="while", dies="while", retries=3)
"""


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="about Airflow's task state, which 3.3 has")
def test_in_airflow(run_dag: Callable[..., Any], asset_events: Any, tmp_path: Path) -> None:
    run = run_dag(DAG.format(folder=tmp_path))
    assert run.states == {"once": "success", "behind": "success", "while": "failed"}
    assert asset_events.of("pushes") == [{"campaign": 221}]
    assert run.xcom("once") == run.xcom("behind") == {"campaign": 221}
    assert (tmp_path / "once").read_text() == "try False; send; sent; done; "
    assert (tmp_path / "behind").read_text() == "try False; send; sent; try True; sent; done; "
    # The second try is the last: a doubt ends the task.
    assert (tmp_path / "while").read_text() == "try False; send; try True; "
