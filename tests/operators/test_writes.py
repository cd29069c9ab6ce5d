"""Writes that fail on the way: what arrives, what is in doubt, what is sent again. Over real HTTP, with a task state
that outlives the tries."""

from __future__ import annotations

import collections
import datetime
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.clients.optimove.batching import batch_size_of
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.operators import batched_write
from airflow_provider_optimove.operators.optimove import (
    OptimoveAddPromotionsOperator,
    OptimoveRemoveCustomerPIIOperator,
    OptimoveSendTransactionalMailOperator,
    OptimoveSetCustomerChannelPreferenceOperator,
    OptimoveUpdateCampaignInteractionsOperator,
    OptimoveUpdateCampaignMetricsOperator,
    OptimoveUpdateCustomerPromotionStatusOperator,
)
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.world import MAIL_TEMPLATES, customer_id

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]


TEMPLATE = next(iter(MAIL_TEMPLATES))


class Killed(BaseException):
    """What a worker that is killed does not live to see."""


class TaskState:
    """Airflow's task state: JSON that outlives tries."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.writes = 0
        self.before_write: Callable[[], None] = lambda: None

    def get(self, key: str) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else None

    def set(self, key: str, value: Any, *, retention: datetime.timedelta = datetime.timedelta(days=30)) -> None:
        self.before_write()
        self.writes += 1
        self.retention = retention
        self.kept[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


class TaskInstance:
    def __init__(self, try_number: int) -> None:
        self.try_number = try_number


class Task:
    """A task of one write and its tries."""

    def __init__(self, operator: type[batched_write.OptimoveBatchedWriteOperator], **arguments: Any) -> None:
        self.operator = operator
        self.arguments = arguments
        self.state: TaskState | None = TaskState()
        self.tries = 0

    def run(self, **changed: Any) -> dict[str, Any]:
        self.tries += 1
        self.arguments |= changed
        context: dict[str, Any] = {"ti": TaskInstance(self.tries)}
        if self.state is not None:
            context["task_state_store"] = self.state
        return self.operator(task_id="write", **self.arguments).execute(context)  # type: ignore[arg-type]

    def dies(self, **changed: Any) -> None:
        with pytest.raises(Killed):
            self.run(**changed)


def connect(monkeypatch: pytest.MonkeyPatch, connection: str, **extra: Any) -> None:
    """Makes a sandbox's connection the one of the operators."""
    described = {**json.loads(connection), "extra": {"rate_limit": "off", **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(described))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    sandbox = request.getfixturevalue("optimove_sandbox")
    connect(monkeypatch, sandbox.connection)


def promotions(count: int, **arguments: Any) -> Task:
    rows = [{"PromoCode": f"P{number}", "PromotionName": f"Promotion {number}"} for number in range(1, count + 1)]
    return Task(OptimoveAddPromotionsOperator, promotions=rows, **arguments)


def metrics(count: int, **arguments: Any) -> Task:
    row = {"ChannelID": 504, "CampaignID": 221, "TemplateID": 7, "MetricID": 2}
    return Task(
        OptimoveUpdateCampaignMetricsOperator,
        metrics=[{**row, "MetricValue": number} for number in range(1, count + 1)],
        **arguments,
    )


CALL = {"campaign_id": 221, "channel_id": 504, "interaction_date": "2026-11-20", "template_id": 7, "event_id": "opened"}


def interactions(count: int, **arguments: Any) -> Task:
    ids = [f"C{number}" for number in range(1, count + 1)]
    return Task(OptimoveUpdateCampaignInteractionsOperator, **CALL, customer_ids=ids, **arguments)


def mails(count: int, **arguments: Any) -> Task:
    recipients = [{"Email": f"c{number}@example.com"} for number in range(1, count + 1)]
    return Task(OptimoveSendTransactionalMailOperator, template_id=TEMPLATE, recipients=recipients, **arguments)


def preferences(count: int, **arguments: Any) -> Task:
    ids = [f"C{number}" for number in range(1, count + 1)]
    return Task(
        OptimoveSetCustomerChannelPreferenceOperator,
        channel_id=504,
        customer_ids=ids,
        communication_mode=2,
        **arguments,
    )


def arrived(sandbox: OptimoveSandbox, task: Task) -> collections.Counter[int]:
    """How often each row took effect, by its number."""
    if task.operator is OptimoveAddPromotionsOperator:
        return collections.Counter(int(code[1:]) for code in sandbox.promotions)
    if task.operator is OptimoveUpdateCampaignMetricsOperator:
        return collections.Counter(row["MetricValue"] for row in sandbox.metrics)
    if task.operator is OptimoveSendTransactionalMailOperator:
        return collections.Counter(
            int(recipient["Email"][1:].split("@")[0]) for mail in sandbox.mails for recipient in mail["Recipients"]
        )
    if task.operator is OptimoveSetCustomerChannelPreferenceOperator:
        return collections.Counter(int(customer[1:]) for customer in sandbox.preferences.get((504, None), {}))
    return collections.Counter(int(customer[1:]) for call in sandbox.interactions for customer in call["CustomerIDs"])


def once(count: int) -> collections.Counter[int]:
    return collections.Counter(range(1, count + 1))


HARMLESS = [promotions, preferences]
COUNTING = [metrics, interactions, mails]
ALL = [*HARMLESS, *COUNTING]


@pytest.mark.parametrize("write", ALL)
def test_success_leaves_no_state_and_a_cleared_task_sends_everything_again(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task]
) -> None:
    task = write(20, batch_size=5)
    first = task.run()
    assert arrived(optimove_sandbox, task) == once(20)
    assert task.state is not None
    assert task.state.kept == {}
    # One before each batch, and one when all is sent.
    assert task.state.writes == 5
    again = task.run()
    for result in (first, again):
        assert (result["rows"], result["batches"], result["calls"], result["resumed_rows"]) == (20, 4, 4, 0)
    assert [call.rows for call in optimove_sandbox.calls] == [5] * 8


@pytest.mark.parametrize("write", ALL)
def test_a_worker_that_dies_between_two_batches_loses_and_repeats_nothing(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task]
) -> None:
    task = write(20, batch_size=5)
    assert task.state is not None

    def die_before_the_third_write() -> None:
        if task.state is not None and task.state.writes == 2:
            raise Killed

    task.state.before_write = die_before_the_third_write
    task.dies()
    task.state.before_write = lambda: None
    # The second batch was confirmed, but nobody lived to write that down.
    if write in COUNTING:
        with pytest.raises(exceptions.OptimoveUncertainWriteError, match=r"rows 6 to 10"):
            task.run()
        assert arrived(optimove_sandbox, task) == once(10)
    else:
        result = task.run()
        assert (result["rows"], result["resumed_rows"], result["calls"]) == (20, 5, 3)
        assert arrived(optimove_sandbox, task) == once(20)
        assert task.state.kept == {}


def in_call(
    number: int, happens: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, after_it_was_sent: bool
) -> None:
    """Lets something happen in a call."""
    from requests import Session

    request = Session.request
    calls = 0

    def interrupted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after_it_was_sent:
            happens()
        answer = request(self, *arguments, **options)
        if calls == number and after_it_was_sent:
            happens()
        return answer

    monkeypatch.setattr(Session, "request", interrupted)


def die() -> None:
    raise Killed


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("write", COUNTING)
def test_a_doubt_survives_a_crash(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Task], sent: bool
) -> None:
    task = write(100, batch_size=5)

    def killed() -> None:
        if task.state is not None:
            task.state.before_write = die
        die()

    with monkeypatch.context() as patch:
        in_call(7, killed, patch, after_it_was_sent=sent)
        task.dies()
    assert task.state is not None
    task.state.before_write = lambda: None
    before = arrived(optimove_sandbox, task)
    for _ in range(2):
        with pytest.raises(exceptions.OptimoveUncertainWriteError) as caught:
            task.run()
        assert "rows 31 to 35" in str(caught.value)
        assert "on_uncertain='resend'" in str(caught.value)
        assert isinstance(caught.value, AirflowFailException)
        assert arrived(optimove_sandbox, task) == before == once(35 if sent else 30)
    result = task.run(on_uncertain="resend")
    assert (result["rows"], result["resumed_rows"]) == (100, 30)
    twice = collections.Counter(range(31, 36)) if sent and write is not mails else collections.Counter[int]()
    assert arrived(optimove_sandbox, task) == once(100) + twice
    assert task.state is not None
    assert task.state.kept == {}


@pytest.mark.parametrize("write", COUNTING)
def test_the_end_of_the_tasks_time_is_a_doubt_only_amid_a_call(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Task]
) -> None:
    task = write(20, batch_size=5)
    with monkeypatch.context() as patch:
        in_call(3, die, patch, after_it_was_sent=True)
        task.dies()
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 11 to 15"):
        task.run()

    # In the pause after a 429, and while the call waits for its turn, it is none.
    task = write(20, batch_size=5)
    optimove_sandbox.fail(status=429, after=2)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: die())
        task.dies()
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_optimove.clients.optimove.rate_limit.RateLimitGate.slot", lambda *_: die())
        task.dies()
    assert task.run()["resumed_rows"] == 10


@pytest.mark.parametrize("write", COUNTING)
def test_a_lost_reply_is_a_doubt_and_is_not_sent_again(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task]
) -> None:
    optimove_sandbox.fail(drop="after", after=6)
    task = write(100, batch_size=5)
    with pytest.raises(exceptions.OptimoveUncertainWriteError) as caught:
        task.run()
    assert "in doubt: rows 31 to 35; 30 of 100 rows were accepted before" in str(caught.value)
    assert "Then clear the task with on_uncertain='resend' to send rows 31 to 35 again" in str(caught.value)
    assert arrived(optimove_sandbox, task) == once(35)
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 31 to 35"):
        task.run()
    assert arrived(optimove_sandbox, task) == once(35)


@pytest.mark.parametrize("write", ALL)
@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 400, "body": "no"}, {"status": 403}])
def test_what_surely_did_not_happen_is_no_doubt(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task], fault: dict[str, Any]
) -> None:
    task = write(20, batch_size=5)
    wrong = optimove_sandbox.fail(**fault, times=5, after=2)
    with pytest.raises(exceptions.OptimoveError) as caught:
        task.run()
    assert "rows 11 to 15; 10 of 20 rows were accepted before" in str(caught.value)
    optimove_sandbox.faults.clear()
    assert wrong.times == 5
    result = task.run()
    assert (result["rows"], result["resumed_rows"]) == (20, 10)
    assert arrived(optimove_sandbox, task) == once(20)


EXPIRED = {"expired_token": True}
FAULTS: list[dict[str, Any]] = [
    {"drop": "before"},
    {"drop": "after"},
    {"status": 500},
    {"status": 500, "takes_effect": True},
    {"status": 429},
    {"truncate": True, "body": '{"IsSuccess": tr', "takes_effect": True},
    EXPIRED,
]


@pytest.fixture
def faulty(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> OptimoveSandbox:
    """Login mode, so that tokens can expire."""
    connect(monkeypatch, optimove_sandbox.login_connection, session_cache="memory")
    return optimove_sandbox


def run_until_it_ends(task: Task, state_after_doubt: Callable[[], None]) -> int:
    """As Airflow does: again after errors that may pass. Returns how many doubts there were."""
    doubts = 0
    for _ in range(400):
        try:
            task.run()
        except exceptions.OptimoveUncertainWriteError:
            doubts += 1
            state_after_doubt()
            return doubts
        except (exceptions.OptimoveServerError, exceptions.OptimoveRateLimitError, exceptions.OptimoveResponseError):
            continue
        except exceptions.OptimoveAuthenticationError:
            # The token expired twice in a row: somebody clears the task.
            continue
        return doubts
    raise AssertionError("no end")


@pytest.mark.parametrize(
    ("write", "fault"),
    [(write, fault) for write in (promotions, metrics, mails) for fault in FAULTS] + [(write, None) for write in ALL],
    ids=lambda value: "mixed" if value is None else getattr(value, "__name__", str(value)),
)
def test_200_batches_with_faults(faulty: OptimoveSandbox, write: Callable[..., Task], fault: Any) -> None:
    seeded = random.Random(str(fault) + write.__name__)
    # There is one Login a second.
    few, many = 8, 60
    for number in range(few if fault == EXPIRED else many):
        what = fault or seeded.choice(FAULTS if number < few else FAULTS[:-1])
        times = 6 if what == {"status": 429} and seeded.random() < 0.3 else 1
        faulty.fail(**what, times=times, after=seeded.randrange(6))
    rows = 400
    task = write(rows, batch_size=2)
    if write in HARMLESS:
        assert run_until_it_ends(task, lambda: None) == 0
        assert arrived(faulty, task) == once(rows)
        return

    def nothing_twice() -> None:
        assert max(arrived(faulty, task).values(), default=1) == 1

    # Told to fail, nothing is ever sent twice; told to send again, everything arrives.
    if run_until_it_ends(task, nothing_twice):
        task.arguments["on_uncertain"] = "resend"
        assert run_until_it_ends(task, lambda: None) == 0
    else:
        nothing_twice()
    delivered = arrived(faulty, task)
    assert set(delivered) == set(range(1, rows + 1))
    if write is mails:
        assert delivered == once(rows)
    assert task.state is not None
    assert task.state.kept == {}


@pytest.mark.parametrize("write", ALL)
def test_a_changed_input_starts_over_or_is_a_doubt(
    optimove_sandbox: OptimoveSandbox,
    write: Callable[..., Task],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = write(20, batch_size=5)
    optimove_sandbox.fail(status=400, body="no", after=2)
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run()
    (field,) = {"promotions", "metrics", "customer_ids", "recipients"} & set(task.arguments)
    changed = {field: task.arguments[field][:19]}
    if write in COUNTING:
        with pytest.raises(
            exceptions.OptimoveUncertainWriteError, match="not those of the earlier try, in which 10 rows"
        ):
            task.run(**changed)
        assert arrived(optimove_sandbox, task) == once(10)
    result = task.run(**changed, on_uncertain="resend")
    assert (result["rows"], result["resumed_rows"]) == (19, 0)


@pytest.mark.parametrize("write", COUNTING)
def test_other_rows_between_two_tries_settle_no_doubt(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task]
) -> None:
    task = write(20, batch_size=5)
    optimove_sandbox.fail(status=400, body="no", after=2)
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run()
    (field,) = {"metrics", "customer_ids", "recipients"} & set(task.arguments)
    rows = task.arguments[field]
    optimove_sandbox.fail(status=400, body="no")
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run(**{field: rows[:19]}, on_uncertain="resend")
    with pytest.raises(
        exceptions.OptimoveUncertainWriteError, match="in which 0 rows were sent, behind a try that had others"
    ):
        task.run(**{field: rows}, on_uncertain="fail")
    assert arrived(optimove_sandbox, task) == once(10)


@pytest.mark.parametrize(
    ("write", "changed"),
    [
        (interactions, {"template_id": 8}),
        (mails, {"schedule_time": "2026-11-21 09:00:00"}),
        (preferences, {"communication_mode": 1}),
    ],
)
def test_arguments_belong_to_the_input(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task], changed: dict[str, Any]
) -> None:
    task = write(20, batch_size=5)
    optimove_sandbox.fail(status=400, body="no", after=2)
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run()
    if write in COUNTING:
        with pytest.raises(exceptions.OptimoveUncertainWriteError, match="not those of the earlier try"):
            task.run(**changed)
    else:
        assert task.run(**changed)["resumed_rows"] == 0


def test_the_moment_of_a_try_is_no_change(optimove_sandbox: OptimoveSandbox) -> None:
    rows = [{"CustomerID": f"C{number}", "Status": True} for number in range(20)]
    task = Task(OptimoveUpdateCustomerPromotionStatusOperator, campaign_id=221, promos_updated=rows, batch_size=5)
    optimove_sandbox.fail(status=400, body="no", after=2)
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run()
    assert task.run()["resumed_rows"] == 10
    sent = [call for call in optimove_sandbox.calls if call.status == 200]
    assert [call.rows for call in sent] == [5] * 4


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("write", ALL)
def test_without_state_a_second_try_of_what_counts_twice_is_refused(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task], durable: bool
) -> None:
    task = write(20, batch_size=5, durable=durable)
    if durable:
        # Airflow before 3.3
        task.state = None
    optimove_sandbox.fail(status=429, after=2, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    if write in HARMLESS:
        assert task.run()["rows"] == 20
        return
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="not the first try"):
        task.run()
    assert arrived(optimove_sandbox, task) == once(10)
    assert task.run(on_uncertain="resend")["rows"] == 20


def test_what_cannot_be_recorded_is_not_sent(optimove_sandbox: OptimoveSandbox) -> None:
    task = metrics(20, batch_size=5)

    def refuse() -> None:
        if task.state is not None and task.state.writes == 2:
            raise RuntimeError("404: the task was cleared")

    assert task.state is not None
    task.state.before_write = refuse
    with pytest.raises(exceptions.OptimoveError, match="nothing more is sent; 10 of 20 rows were accepted") as caught:
        task.run()
    assert "404: the task was cleared" in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException)
    assert len(optimove_sandbox.calls) == 2


def test_the_state_holds_no_rows(optimove_sandbox: OptimoveSandbox) -> None:
    task = mails(20, batch_size=5)
    optimove_sandbox.fail(status=429, after=2, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    assert task.state is not None
    (kept,) = task.state.kept.values()
    assert "example.com" not in kept
    assert len(kept) < 500
    # It stays as long as the doubt: Airflow's NEVER_EXPIRE.
    assert task.state.retention is datetime.timedelta.max
    assert list(task.state.kept) == [batched_write.JOURNAL_KEY]


def test_a_state_of_another_make_is_a_doubt(optimove_sandbox: OptimoveSandbox) -> None:
    task = metrics(2)
    assert task.state is not None
    task.state.set(batched_write.JOURNAL_KEY, {"offset": 5})
    with pytest.raises(exceptions.OptimoveUncertainWriteError):
        task.run()
    assert optimove_sandbox.calls == []


def rejected(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_three_bad_rows_anywhere_in_a_batch_are_found(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    seeded = random.Random(7)
    places = [[1, 2, 3], [49_998, 49_999, 50_000], [1, 25_000, 50_000], [12_501, 25_001, 37_501]]
    places += [seeded.sample(range(1, 50_001), 3) for _ in range(6)]
    path = tmp_path / "rejected.jsonl"
    task = preferences(50_000, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    for bad in places:
        optimove_sandbox.preferences.clear()
        calls_before = len(optimove_sandbox.calls)
        for number in bad:
            optimove_sandbox.refuse_rows("SetCustomerChannelPreference", f"C{number}", f"C{number} is not known")
        result = task.run()
        optimove_sandbox.forgive_rows()
        assert (result["rows"], result["rejected"]) == (49_997, 3)
        assert len(optimove_sandbox.calls) - calls_before <= 55
        assert rejected(path) == [
            {"row": number, "explanation": f"C{number} is not known", "data": f"C{number}"} for number in sorted(bad)
        ]
        assert arrived(optimove_sandbox, task) == once(50_000) - collections.Counter(bad)
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_wrong_argument_is_told_from_bad_rows(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    optimove_sandbox.fail(status=400, body="ChannelID 504 is not known", times=None)
    path = tmp_path / "rejected.jsonl"
    task = preferences(50_000, on_rejected="isolate", rejected_path=str(path))
    with pytest.raises(exceptions.OptimoveRejectedRowsError) as caught:
        task.run()
    assert "stopped at 100 rejected rows (max_rejected)" in str(caught.value)
    assert "ChannelID 504 is not known" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert len(optimove_sandbox.calls) <= 300
    assert len(rejected(path)) == 100


@pytest.mark.parametrize("write", ALL)
def test_rejected_rows_fail_the_task_at_the_end(
    optimove_sandbox: OptimoveSandbox, write: Callable[..., Task], tmp_path: Path
) -> None:
    path = tmp_path / "rejected.jsonl"
    task = write(20, batch_size=5, on_rejected="isolate", rejected_path=str(path))
    function, value = {
        promotions: ("AddPromotions", "P7"),
        preferences: ("SetCustomerChannelPreference", "C7"),
        interactions: ("UpdateCampaignInteractions", "C7"),
        metrics: ("UpdateCampaignMetrics", "7"),
        mails: ("SendTransactionalMail", "c7@example.com"),
    }[write]
    optimove_sandbox.refuse_rows(function, value, "bad row")
    if write is metrics:
        # Every row has template 7.
        task.arguments["metrics"] = [{**row, "TemplateID": 99} for row in task.arguments["metrics"]]
    with pytest.raises(exceptions.OptimoveRejectedRowsError) as caught:
        task.run()
    assert f"1 row rejected, written to {path}; the other 19 were accepted" in str(caught.value)
    assert [row["row"] for row in rejected(path)] == [7]
    delivered = once(20) - collections.Counter([7])
    assert arrived(optimove_sandbox, task) == delivered
    calls = len(optimove_sandbox.calls)
    with pytest.raises(exceptions.OptimoveRejectedRowsError):
        task.run()
    # Cleared, what counts twice is not sent again.
    assert (len(optimove_sandbox.calls) == calls) == (write in COUNTING)
    assert [row["row"] for row in rejected(path)] == [7]


def test_a_retry_keeps_what_was_rejected_before(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    task = interactions(40, batch_size=10, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    for number in (3, 33):
        optimove_sandbox.refuse_rows("UpdateCampaignInteractions", f"C{number}", "unknown")
    optimove_sandbox.fail(status=429, after=8, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    # Lines of a try that was killed before it recorded them are found again.
    with path.open("a") as file:
        file.write('{"row": 33}\n')
    result = task.run()
    assert (result["rows"], result["rejected"]) == (38, 2)
    assert [row["row"] for row in rejected(path)] == [3, 33]
    assert arrived(optimove_sandbox, task) == once(40) - collections.Counter([3, 33])


def test_mails_that_fail_are_rejected(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    optimove_sandbox.fail_mails("c7@example.com", "Address is blocked")
    with pytest.raises(exceptions.OptimoveRejectedRowsError, match=r"Address is blocked.*rows 6 to 10"):
        mails(20, batch_size=5).run()
    optimove_sandbox.mails.clear()
    path = tmp_path / "rejected.jsonl"
    task = mails(20, batch_size=5, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    result = task.run()
    assert (result["rows"], result["rejected"]) == (19, 1)
    assert len(result["send_ids"]) == len(optimove_sandbox.mails)
    ((row),) = rejected(path)
    assert (row["row"], row["data"]) == (7, {"Email": "c7@example.com"})
    assert "Address is blocked" in row["explanation"]
    assert arrived(optimove_sandbox, task) == once(20) - collections.Counter([7])


def test_mails_have_a_name_of_their_own_and_a_cleared_task_mails_again(optimove_sandbox: OptimoveSandbox) -> None:
    task = mails(10, batch_size=5)
    task.run()
    task.run()
    names = [mail["UniqueMessageID"] for mail in optimove_sandbox.mails]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 254
    assert arrived(optimove_sandbox, task) == once(10) + once(10)


def test_accounts_without_message_names(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.refuse_unique_message_id = True
    task = mails(10, batch_size=5)
    result = task.run()
    assert arrived(optimove_sandbox, task) == once(10)
    assert result["calls"] == 3


@pytest.mark.parametrize("limit", [10_000, 7_777])
def test_an_account_that_takes_fewer_rows_gets_smaller_batches(optimove_sandbox: OptimoveSandbox, limit: int) -> None:
    optimove_sandbox.row_limits["UpdateCampaignInteractions"] = limit
    task = interactions(60_000)
    optimove_sandbox.fail(status=429, after=4, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    task.run()
    refused = [call for call in optimove_sandbox.calls if call.status == 400]
    assert [call.rows for call in refused] == [50_000]
    assert arrived(optimove_sandbox, task) == once(60_000)
    taken = [call.rows for call in optimove_sandbox.calls if call.status == 200]
    assert len(taken) == -(-50_000 // limit) + -(-10_000 // limit)


@pytest.mark.parametrize(
    "said",
    [
        "Request Entity Too Large",
        "The number of customers exceeds the limit of 10000",
        "Too many rows, maximum is 10,000",
    ],
)
def test_words_for_too_many_rows(optimove_sandbox: OptimoveSandbox, said: str) -> None:
    status = 413 if said.startswith("Request") else 400
    optimove_sandbox.fail(status=status, body=said)
    task = preferences(20_000)
    task.run()
    assert [call.rows for call in optimove_sandbox.calls] == [20_000, 10_000, 10_000]


@pytest.mark.parametrize(
    "said", ["PromotionName exceeds the maximum length of 50 characters", "Invalid template 7", "TemplateID 7 of row 3"]
)
def test_words_for_other_things(optimove_sandbox: OptimoveSandbox, said: str) -> None:
    optimove_sandbox.fail(status=400, body=said)
    with pytest.raises(exceptions.OptimoveBadRequestError):
        promotions(100).run()
    assert len(optimove_sandbox.calls) == 1


def test_a_long_wait_gives_the_worker_back(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, optimove_sandbox.connection, rate_limit="3/3600")
    task = interactions(100, batch_size=10)
    with pytest.raises(exceptions.OptimoveRateLimitError) as caught:
        task.run()
    assert not isinstance(caught.value, AirflowFailException)
    assert "rows 31 to 40; 30 of 100 rows were accepted before" in str(caught.value)
    connect(monkeypatch, optimove_sandbox.connection)
    assert task.run()["resumed_rows"] == 30
    assert arrived(optimove_sandbox, task) == once(100)


def test_a_server_that_asks_for_a_long_pause_gives_the_worker_back(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.fail(status=429, headers={"Retry-After": "301"}, after=1)
    task = promotions(10, batch_size=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    assert len(optimove_sandbox.calls) == 2
    assert task.run()["resumed_rows"] == 5


def test_erased_customers_that_fail_after_a_lost_reply(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    path = tmp_path / "failed.jsonl"
    known = [customer_id(number) for number in range(1, 7)]
    optimove_sandbox.fail("RemoveCustomerPII", drop="after", after=1)
    task = Task(
        OptimoveRemoveCustomerPIIOperator,
        customer_ids=["unknown-1", *known[:2], "unknown-2", *known[2:]],
        batch_size=4,
        failed_path=str(path),
    )
    result = task.run()
    assert optimove_sandbox.erased_customers >= set(known)
    assert result["rows"] == 8
    assert result["failed_path"] == str(path)
    found = rejected(path)
    assert result["failed"] == len(found)
    assert [(row["CustomerID"], row["possibly_erased_before"]) for row in found] == [
        ("unknown-1", False),
        ("unknown-2", False),
        *((customer, True) for customer in known[2:]),
    ]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", [name for name, f in catalogue().items() if f.rows])
def test_batch_sizes_of_the_guide(name: str) -> None:
    documented = {"SendTransactionalMail": 200, "UpdateCampaignMetrics": 100}
    large = {
        "UpdateCustomerPromotionStatus",
        "UpdateCampaignInteractions",
        "SetCustomerChannelPreference",
        "RemoveCustomerPII",
    }
    assert batch_size_of(catalogue()[name], None) == documented.get(name, 50_000 if name in large else 100)


INTERACTION = {"ChannelID": 504, "InteractionDate": "2026-11-20", "EventID": "opened"}


def mixed_interactions(count: int, **arguments: Any) -> Task:
    """Rows of three campaigns and two templates in turn."""
    rows = [
        {"CustomerID": f"C{number}", "CampaignID": 221 + number % 3, "TemplateID": 7 + number % 2, **INTERACTION}
        for number in range(1, count + 1)
    ]
    return Task(OptimoveUpdateCampaignInteractionsOperator, interactions=rows, **arguments)


def test_rows_of_a_group_are_named_by_their_numbers_in_the_input(optimove_sandbox: OptimoveSandbox) -> None:
    task = mixed_interactions(60)
    optimove_sandbox.fail(drop="after", after=1)
    with pytest.raises(exceptions.OptimoveUncertainWriteError) as caught:
        task.run()
    _, second = optimove_sandbox.interactions
    numbers = [int(customer[1:]) for customer in second["CustomerIDs"]]
    assert f"the 10 rows from {numbers[0]} to {numbers[-1]} with CampaignID {second['CampaignID']}" in str(caught.value)
    task.run(on_uncertain="resend")
    assert len(optimove_sandbox.interactions) == 7
    assert arrived(optimove_sandbox, task) == once(60) + collections.Counter(numbers)


def test_rejected_rows_of_groups(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (7, 31, 32):
        optimove_sandbox.refuse_rows("UpdateCampaignInteractions", f"C{number}", f"C{number} is not known")
    path = tmp_path / "rejected.jsonl"
    rows = tmp_path / "rows.jsonl"
    task = mixed_interactions(60, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    rows.write_text("\n".join(json.dumps(row) for row in task.arguments["interactions"]))
    reads = 0
    numbers = OptimoveUpdateCampaignInteractionsOperator._numbers

    def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return numbers(*arguments)

    monkeypatch.setattr(OptimoveUpdateCampaignInteractionsOperator, "_numbers", counted)
    assert task.run(interactions=str(rows))["rejected"] == 3
    found = {row["row"]: row["data"] for row in rejected(path)}
    assert set(found) == {7, 31, 32}
    assert found[31] == {
        "CustomerID": "C31",
        "CampaignID": 222,
        "ChannelID": 504,
        "InteractionDate": "2026-11-20",
        "TemplateID": 8,
        "EventID": 2,
    }
    # 7 and 31 belong together: the input is read again once for both.
    assert reads == 2
    assert arrived(optimove_sandbox, task) == once(60) - collections.Counter([7, 31, 32])


def test_arguments_beside_interactions_stand_for_all_rows(optimove_sandbox: OptimoveSandbox) -> None:
    rows = [{"CustomerID": f"C{number}", "EventID": 2 + number % 2} for number in range(1, 11)]
    task = Task(
        OptimoveUpdateCampaignInteractionsOperator,
        **{name: value for name, value in CALL.items() if name != "event_id"},
        interactions=rows,
    )
    task.run()
    assert [(call["CampaignID"], call["EventID"]) for call in optimove_sandbox.interactions] == [(221, 3), (221, 2)]
    with pytest.raises(exceptions.OptimoveInputError, match="row 1: 'TemplateID': this is an argument of its own"):
        task.run(interactions=[{"CustomerID": "C1", "EventID": 2, "TemplateID": 8}])
    with pytest.raises(exceptions.OptimoveInputError, match="row 1: EventID: missing"):
        task.run(interactions=[{"CustomerID": "C1"}])
    with pytest.raises(exceptions.OptimoveInputError, match="interactions: not together with customer_ids"):
        task.run(customer_ids=["C1"])


def test_at_too_many_rejected_rows_what_is_harmless_starts_over(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path
) -> None:
    path = tmp_path / "rejected.jsonl"
    for write in (preferences, interactions):
        task = write(20, batch_size=5, on_rejected="isolate", rejected_path=str(path), max_rejected=2)
        optimove_sandbox.fail(status=400, body="no such channel", times=None, after=1)
        with pytest.raises(exceptions.OptimoveRejectedRowsError, match="stopped at 2 rejected rows"):
            task.run()
        optimove_sandbox.faults.clear()
        if write is preferences:
            assert task.run()["rows"] == 20
        else:
            with pytest.raises(exceptions.OptimoveRejectedRowsError, match="2 rows rejected"):
                task.run()
            assert arrived(optimove_sandbox, task) == once(20) - collections.Counter([6, 7])


@pytest.mark.parametrize(
    "path", ["reports/rejected.jsonl", "~/reports/rejected.jsonl", "file://{}/reports/rejected.jsonl"]
)
def test_paths_of_reports(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    task = preferences(5, on_rejected="isolate", rejected_path=path.format(tmp_path))
    with pytest.raises(exceptions.OptimoveInputError, match=r"rejected\.jsonl: the folder does not exist"):
        task.run()
    assert optimove_sandbox.calls == []
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "rejected.jsonl").write_text("of an earlier run\n")
    task.run()
    assert (tmp_path / "reports" / "rejected.jsonl").read_text() == ""


def test_a_doubt_is_not_settled_by_a_refusal(optimove_sandbox: OptimoveSandbox) -> None:
    task = interactions(20, batch_size=5)
    optimove_sandbox.fail(drop="after")
    with pytest.raises(exceptions.OptimoveUncertainWriteError):
        task.run()
    optimove_sandbox.fail(status=400, body="was reported before")
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run(on_uncertain="resend")
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 1 to 5"):
        task.run(on_uncertain="fail")
    assert arrived(optimove_sandbox, task) == once(5)


@pytest.mark.parametrize("write", ALL)
def test_another_account_is_another_write(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Task]
) -> None:
    task = write(20, batch_size=5)
    optimove_sandbox.fail(status=403, after=2)
    with pytest.raises(exceptions.OptimovePermissionError):
        task.run()
    with OptimoveSandbox() as other:
        connect(monkeypatch, other.connection)
        if write in COUNTING:
            with pytest.raises(exceptions.OptimoveUncertainWriteError, match="not those of the earlier try"):
                task.run()
            assert other.calls == []
        else:
            assert task.run()["resumed_rows"] == 0
            assert arrived(other, task) == once(20)


def test_a_conflict_at_the_first_call_is_no_mail_that_was_sent(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.fail(status=409, body="Template is locked by another user")
    with pytest.raises(exceptions.OptimoveBadRequestError, match="locked by another user"):
        mails(5).run()
    assert optimove_sandbox.mails == []


def test_an_empty_answer_is_no_mail_that_was_sent(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.fail(status=200, body="")
    task = mails(5, on_uncertain="resend")
    with pytest.raises(exceptions.OptimoveResponseError, match="an empty answer"):
        task.run()
    assert task.run()["rows"] == 5
    assert arrived(optimove_sandbox, task) == once(5)


def test_files_are_not_read_and_written_at_once(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('"C1"\n')
    task = Task(OptimoveRemoveCustomerPIIOperator, customer_ids=str(path), on_rejected="isolate")
    both: list[dict[str, Any]] = [
        {"rejected_path": f"{tmp_path}/./rows.jsonl"},
        {"rejected_path": path},
        {"failed_path": str(path)},
    ]
    both += [{"rejected_path": str(tmp_path / "a"), "failed_path": tmp_path / "a"}]
    for paths in both:
        with pytest.raises(exceptions.OptimoveInputError, match="both are "):
            task.run(**{"rejected_path": str(tmp_path / "other"), "failed_path": None, **paths})
    assert path.read_text() == '"C1"\n'
    assert optimove_sandbox.calls == []


def test_a_storage_that_airflow_does_not_know(optimove_sandbox: OptimoveSandbox) -> None:
    for arguments in ({"customer_ids": "nowhere://bucket/rows.csv"}, {"rejected_path": "nowhere://bucket/rows.jsonl"}):
        task = preferences(5, on_rejected="isolate", rejected_path="rejected.jsonl")
        with pytest.raises(exceptions.OptimoveInputError, match="nowhere://bucket/rows"):
            task.run(**arguments)
    assert optimove_sandbox.calls == []


def test_what_a_task_without_memory_does_is_not_resumed_later(optimove_sandbox: OptimoveSandbox) -> None:
    task = preferences(20, batch_size=5)
    optimove_sandbox.fail(status=400, body="no", after=2)
    with pytest.raises(exceptions.OptimoveBadRequestError):
        task.run()
    assert task.run(durable=False)["resumed_rows"] == 0
    assert task.run(durable=True)["resumed_rows"] == 0


def test_an_error_after_the_last_batch_sends_nothing_again(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = metrics(20, batch_size=5)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_optimove.hooks.asset_events.add_to_asset_events", lambda *_: die())
        task.dies()
    assert task.run()["resumed_rows"] == 20
    assert arrived(optimove_sandbox, task) == once(20)
    assert task.state is not None
    assert task.state.kept == {}


def test_a_report_that_cannot_be_written_makes_no_doubt(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_optimove.storage.row_report import RowReport

    def full(*_: Any) -> None:
        raise OSError("no space left")

    path = tmp_path / "rejected.jsonl"
    optimove_sandbox.refuse_rows("UpdateCampaignInteractions", "C8", "unknown")
    task = interactions(20, batch_size=5, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    with monkeypatch.context() as patch:
        patch.setattr(RowReport, "add", full)
        with pytest.raises(OSError, match="no space left"):
            task.run()
    assert task.run()["rejected"] == 1
    assert arrived(optimove_sandbox, task) == once(20) - collections.Counter([8])


def test_customers_may_be_erased_by_a_try_of_which_nothing_is_kept(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path
) -> None:
    path = tmp_path / "failed.jsonl"
    task = Task(OptimoveRemoveCustomerPIIOperator, customer_ids=[customer_id(1)], failed_path=str(path), durable=False)
    optimove_sandbox.fail("RemoveCustomerPII", drop="after", times=1)
    optimove_sandbox.fail("RemoveCustomerPII", status=503, times=9)
    with pytest.raises(exceptions.OptimoveError):
        task.run()
    optimove_sandbox.faults.clear()
    task.run()
    assert rejected(path) == [{"CustomerID": customer_id(1), "possibly_erased_before": True}]


def test_marks_of_erased_customers_are_true(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    path = tmp_path / "failed.jsonl"
    known = [customer_id(number) for number in range(1, 5)]
    task = Task(OptimoveRemoveCustomerPIIOperator, customer_ids=["unknown", *known], failed_path=str(path))
    # Refused as too many calls, nobody was erased.
    optimove_sandbox.fail(status=429, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    # Erased, then the call was repeated in smaller parts.
    optimove_sandbox.fail(drop="after")
    optimove_sandbox.fail(status=413)
    task.run()
    assert {row["CustomerID"]: row["possibly_erased_before"] for row in rejected(path)} == {
        "unknown": True,
        **dict.fromkeys(known, True),
    }
    optimove_sandbox.erased_customers.clear()
    optimove_sandbox.fail(status=429, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    task.run()
    assert rejected(path) == [{"CustomerID": "unknown", "possibly_erased_before": False}]


@pytest.mark.parametrize(
    ("said", "sizes"),
    [
        ("Maximum is 10K customers per call", [20_000, 10_000, 10_000]),
        ("Maximum of 10.000 customers exceeded", [20_000, 10_000, 10_000]),
        ("Too many customers: at most 10 000 are allowed", [20_000, 10_000, 10_000]),
        ("The field CustomerIDs must be an array type with a maximum length of '10000'", [20_000, 10_000, 10_000]),
        ("Only 10,000 customers are allowed per call", [20_000, 10_000, 10_000]),
        ("The number of customers must be between 1 and 10000", [20_000, 10_000, 10_000]),
        ("Too many customers", [20_000, 10_000, 10_000]),
        ("InteractionDate can be up to 30 days back for these customers", [20_000, 10_000, 10_000]),
    ],
)
def test_more_words_for_too_many_rows(optimove_sandbox: OptimoveSandbox, said: str, sizes: list[int]) -> None:
    optimove_sandbox.fail(status=400, body=said)
    preferences(20_000).run()
    assert [call.rows for call in optimove_sandbox.calls] == sizes


@pytest.mark.parametrize("isolate", [True, False])
def test_words_that_only_sound_like_too_many_rows(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, isolate: bool
) -> None:
    """They cost a few calls, and no more."""
    optimove_sandbox.refuse_rows(
        "SetCustomerChannelPreference", "C2999", "Customer C2999 exceeds the limit of 300 messages, too many customers"
    )
    task = preferences(6_000, batch_size=3_000)
    if not isolate:
        with pytest.raises(exceptions.OptimoveBadRequestError):
            task.run()
        assert len(optimove_sandbox.calls) < 15
        return
    path = tmp_path / "rejected.jsonl"
    task.run(on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    assert [row["row"] for row in rejected(path)] == [2_999]
    assert arrived(optimove_sandbox, task) == once(6_000) - collections.Counter([2_999])
    assert len(optimove_sandbox.calls) < 40


def test_bad_rows_whose_words_change_are_found_all_the_same(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    optimove_sandbox.fail(status=400, body="some customers are unknown")
    optimove_sandbox.refuse_rows("SetCustomerChannelPreference", "C7", "Too many unknown customers")
    path = tmp_path / "rejected.jsonl"
    task = preferences(100, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    assert task.run()["rejected"] == 1
    assert len(optimove_sandbox.calls) < 20


def test_numbers_of_an_input_that_changed_are_not_told(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, path = tmp_path / "rows.jsonl", tmp_path / "rejected.jsonl"
    task = mixed_interactions(12, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    lines = [json.dumps(row) for row in task.arguments["interactions"]]
    rows.write_text("\n".join(lines))
    optimove_sandbox.refuse_rows("UpdateCampaignInteractions", "C3", "unknown")
    with monkeypatch.context() as patch:
        in_call(1, lambda: (rows.write_text("\n".join(lines[::-1])), None)[1], patch, after_it_was_sent=False)
        task.run(interactions=str(rows))
    assert [(row["row"], row["data"]["CustomerID"]) for row in rejected(path)] == [(None, "C3")]
    with monkeypatch.context() as patch:
        in_call(1, rows.unlink, patch, after_it_was_sent=False)
        rows.write_text("\n".join(lines))
        task.run()
    assert [row["row"] for row in rejected(path)] == [None]


def test_progress_is_told_within_a_batch(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Log:
        def info(self, message: str, *arguments: Any) -> None:
            told.append(message % arguments)

        warning = info

    monkeypatch.setattr("airflow_provider_optimove.clients.long_writes.LOG_INTERVAL", 0.0)
    monkeypatch.setattr(OptimoveSetCustomerChannelPreferenceOperator, "log", Log())
    optimove_sandbox.row_limits["SetCustomerChannelPreference"] = 1_000
    preferences(5_000).run()
    lines = [line for line in told if "rows done" in line]
    assert len(lines) == 5
    assert "5,000 of 5,000 rows done" in lines[-1]
    assert "rows a second, about" in lines[0]


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}, {"drop": "after"}])
def test_a_login_that_fails_is_no_doubt(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    connect(monkeypatch, optimove_sandbox.login_connection, session_cache="memory")
    optimove_sandbox.fail("Login", **fault, times=5)
    task = metrics(20, batch_size=5)
    with pytest.raises(exceptions.OptimoveServerError):
        task.run()
    assert task.run()["rows"] == 20
    assert arrived(optimove_sandbox, task) == once(20)


@pytest.mark.parametrize("place", ["rate_limit.RateLimitGate._complete", "protocol._read", "remarks.after"])
def test_the_end_of_the_tasks_time_after_the_answer_is_a_doubt(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    connect(monkeypatch, optimove_sandbox.connection, rate_limit="1000/1")
    task = metrics(20, batch_size=5)
    with monkeypatch.context() as patch:
        patch.setattr(f"airflow_provider_optimove.clients.optimove.{place}", lambda *_, **__: die())
        task.dies()
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 1 to 5"):
        task.run()
    assert arrived(optimove_sandbox, task) == once(5)


@pytest.mark.parametrize("fault", [{"body": "[" * 100_000}, {"headers": {"Content-Length": "7"}}])
def test_an_answer_that_cannot_be_read_is_a_doubt(optimove_sandbox: OptimoveSandbox, fault: dict[str, Any]) -> None:
    optimove_sandbox.fail(**fault, takes_effect=True, after=1)
    task = metrics(20, batch_size=5)
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 6 to 10"):
        task.run()
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 6 to 10"):
        task.run()
    assert arrived(optimove_sandbox, task) == once(10)


def test_without_memory_a_doubt_stays_one(optimove_sandbox: OptimoveSandbox) -> None:
    task = metrics(20, batch_size=5)
    optimove_sandbox.fail(drop="after", after=2)
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 11 to 15"):
        task.run()
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="not the first try"):
        task.run(durable=False)
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 11 to 15"):
        task.run(durable=True)
    assert arrived(optimove_sandbox, task) == once(15)

    task = metrics(20, batch_size=5, durable=False)
    optimove_sandbox.metrics.clear()
    optimove_sandbox.fail(status=429, after=2, times=5)
    with pytest.raises(exceptions.OptimoveRateLimitError):
        task.run()
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="was not recorded"):
        task.run(durable=True)
    assert arrived(optimove_sandbox, task) == once(10)


@pytest.mark.parametrize("token_refused", [False, True])
def test_erased_behind_an_unexpected_answer(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token_refused: bool
) -> None:
    path = tmp_path / "failed.jsonl"
    known = [customer_id(number) for number in range(1, 5)]
    task = Task(OptimoveRemoveCustomerPIIOperator, customer_ids=known, failed_path=str(path))
    if token_refused:
        connect(monkeypatch, optimove_sandbox.login_connection, session_cache="memory")
        optimove_sandbox.fail("RemoveCustomerPII", status=500, takes_effect=True)
        optimove_sandbox.fail("RemoveCustomerPII", status=401)
        optimove_sandbox.fail("Login", status=500, after=1)
    else:
        optimove_sandbox.fail(status=200, body="<html>gateway</html>", takes_effect=True)
    with pytest.raises(exceptions.OptimoveError):
        task.run()
    task.run()
    assert {row["CustomerID"]: row["possibly_erased_before"] for row in rejected(path)} == dict.fromkeys(known, True)


def test_a_doubt_is_as_large_as_it_was(optimove_sandbox: OptimoveSandbox) -> None:
    task = metrics(40, batch_size=40)
    optimove_sandbox.fail(drop="after")
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 1 to 40"):
        task.run()
    optimove_sandbox.fail(status=413)
    assert task.state is not None
    writes = task.state.writes

    def killed_at_the_second() -> None:
        if task.state is not None and task.state.writes == writes + 2:
            die()

    task.state.before_write = killed_at_the_second
    task.dies(on_uncertain="resend")
    task.state.before_write = lambda: None
    with pytest.raises(exceptions.OptimoveUncertainWriteError, match="rows 1 to 40"):
        task.run(on_uncertain="fail")


def test_the_input_by_another_name_is_not_overwritten(optimove_sandbox: OptimoveSandbox, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('"C1"\n')
    (tmp_path / "link.jsonl").symlink_to(path)
    for name in (f"file://{path}", f"{tmp_path}/../{tmp_path.name}/rows.jsonl", f"{tmp_path}/link.jsonl"):
        with pytest.raises(exceptions.OptimoveInputError, match="both are "):
            preferences(1, on_rejected="isolate", rejected_path=name).run(customer_ids=str(path))
    assert path.read_text() == '"C1"\n'


def test_words_that_sound_like_too_many_rows_are_not_believed_for_good(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path
) -> None:
    optimove_sandbox.refuse_rows(
        "SetCustomerChannelPreference", "C400", "Customer C400 is not allowed: customers must be active"
    )
    path = tmp_path / "rejected.jsonl"
    task = preferences(50_000, batch_size=5_000, on_rejected="isolate", rejected_path=str(path), fail_on_rejected=False)
    assert task.run()["rejected"] == 1
    assert len(optimove_sandbox.calls) < 45
