"""One poll for all: many triggers in an event loop without Airflow around them, and a client that answers by script."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import random
import threading
import time
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection
from airflow.triggers.base import BaseTrigger

from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveError,
    OptimovePermissionError,
    OptimoveResponseError,
    OptimoveServerError,
)
from airflow_provider_optimove.hooks.optimove import client_from_connection
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sensors.waits import (
    LONGEST_CALL,
    CampaignWait,
    DataDateWait,
    Done,
    Wait,
    campaign_wait,
)
from airflow_provider_optimove.triggers import shared_poll
from airflow_provider_optimove.triggers.events import success_event
from airflow_provider_optimove.triggers.optimove import OptimoveCampaignTrigger, OptimoveLastDataUpdateTrigger
from airflow_provider_optimove.triggers.shared_poll import end_of
from tests.triggers.conftest import Lines, run, until

BEFORE, TARGET = date(2024, 11, 19), date(2024, 11, 20)
DOWN = OptimoveServerError("down", function="GetLastDataUpdate", status=503)
DENIED = OptimovePermissionError("no", function="GetLastDataUpdate", status=403)
REFUSED = OptimoveAuthenticationError("wrong key", function="GetLastDataUpdate", status=401)


@dataclass
class Account:
    """What Optimove answers, and what was asked; one for all clients of a test."""

    data_date: Any = BEFORE
    campaign: Any = None
    takes: float = 0.0
    right_key: str | None = None
    calls: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    at_a_time: int = 0
    counting: threading.Lock = field(default_factory=threading.Lock)
    most_at_a_time: int = 0
    closed: int = 0
    release: threading.Event | None = None


class Client:
    """Stands in for OptimoveClient."""

    def __init__(self, account: Account, conn_id: str, key: str) -> None:
        self.account = account
        self.conn_id = conn_id
        self.settings = key

    def _answer(self, call: str, answer: Any) -> Any:
        account = self.account
        with account.counting:
            account.calls.append(f"{self.conn_id} {call}")
            account.at_a_time += 1
            account.most_at_a_time = max(account.most_at_a_time, account.at_a_time)
        try:
            if account.release is not None:
                account.release.wait(10)
            time.sleep(account.takes)
        finally:
            with account.counting:
                account.at_a_time -= 1
        if account.right_key not in (None, self.settings):
            raise REFUSED
        answer = answer() if callable(answer) else answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def get_last_data_update(self) -> date:
        found: date = self._answer("date", self.account.data_date)
        return found

    def get_campaign_details(self, *, campaign_id: int) -> Any:
        return self._answer(f"campaign {campaign_id}", self.account.campaign)

    def get_executed_campaign_channel_details(self, *, campaign_id: int, channel_id: int) -> Any:
        return self._answer(f"campaign {campaign_id} on {channel_id}", self.account.campaign)

    def close(self) -> None:
        self.account.closed += 1


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    account = Account()

    def build(connection: Any) -> Client:
        account.connections.append(connection.conn_id)
        return Client(account, connection.conn_id, connection.password)

    monkeypatch.setattr(shared_poll, "_client_from", build)
    for name in ("A", "B"):
        define(monkeypatch, name)
    yield account
    assert shared_poll._lines == {}


def define(monkeypatch: pytest.MonkeyPatch, name: str, key: str = "old") -> None:
    connection = {"conn_type": "optimove", "host": "http://127.0.0.1:9", "password": key}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


@pytest.fixture
def log(record_log: Callable[..., Lines]) -> Lines:
    return record_log(shared_poll)


async def payload_of(trigger: BaseTrigger) -> Any:
    (payload,) = [event.payload async for event in trigger.run()]
    return payload


def start(wait: Wait, interval: float = 0.02, conn: str = "a") -> asyncio.Task[Done]:
    return asyncio.create_task(end_of(wait, optimove_conn_id=conn, interval=interval))


def data_of(day: date) -> DataDateWait:
    return DataDateWait(day)


TRIGGERS = 1_000


async def a_thousand(account: Account) -> list[Any]:
    """Wait until the fifth call finds the data; the triggers are started as a triggerer does, over some time."""
    account.takes = 0.05
    account.data_date = lambda: TARGET if len(account.calls) >= 5 else BEFORE

    async def payload(number: int) -> Any:
        await asyncio.sleep(number % 20 * 0.01)
        return await payload_of(OptimoveLastDataUpdateTrigger("a", "2024-11-20", 0.3 + number % 7))

    return await asyncio.gather(*map(payload, range(TRIGGERS)))


def test_a_thousand_triggers_share_their_calls(
    account: Account, record_property: Callable[[str, object], None]
) -> None:
    async def scenario() -> tuple[list[Any], float]:
        gaps: list[float] = []

        async def ticker() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.01)
                gaps.append(time.perf_counter() - before - 0.01)

        ticking = asyncio.create_task(ticker())
        events = await a_thousand(account)
        ticking.cancel()
        return events, max(gaps)

    events, gap = run(scenario())
    assert events == [success_event("2024-11-20", {"target_date": "2024-11-20"})] * TRIGGERS
    assert account.calls == ["a date"] * 5
    assert (len(account.connections), account.closed, account.most_at_a_time) == (1, 1, 1)
    record_property("the longest that the event loop was late, ms", round(gap * 1000, 1))


def test_memory_of_a_thousand_triggers(account: Account, record_property: Callable[[str, object], None]) -> None:
    async def scenario() -> int:
        waiting = asyncio.create_task(a_thousand(account))
        await until(lambda: len(account.calls) >= 3)
        used = tracemalloc.get_traced_memory()[0]
        await waiting
        return used

    tracemalloc.start()
    try:
        used = run(scenario())
    finally:
        tracemalloc.stop()
    kilobytes = used / TRIGGERS / 1024
    assert kilobytes < 20
    record_property("KB a trigger", round(kilobytes, 2))


def test_each_has_its_own_target_whatever_becomes_of_the_others(account: Account, log: list[tuple[int, str]]) -> None:
    """A hundred wait for the days to come; meanwhile some are cancelled and some calls fail."""
    days = [TARGET + timedelta(days=number) for number in range(10)]
    dice = random.Random(5)

    async def calls_more(number: int) -> None:
        enough = len(account.calls) + number
        await until(lambda: len(account.calls) >= enough)

    async def scenario() -> None:
        waiting = {number: start(data_of(days[number % 10]), interval=0.01) for number in range(100)}
        gone = set()
        for day in days:
            await calls_more(1)
            cancelled = dice.choice([number for number in waiting if not waiting[number].done()])
            gone.add(cancelled)
            waiting[cancelled].cancel()
            account.data_date = DOWN
            await calls_more(2)
            account.data_date = day
            due = [task for number, task in waiting.items() if days[number % 10] == day and number not in gone]
            for done in await asyncio.gather(*due):
                assert done.value == day.isoformat()
            rest = [task for number, task in waiting.items() if days[number % 10] > day and number not in gone]
            assert not any(task.done() for task in rest)
        assert all(waiting[number].cancelled() for number in gone)

    run(scenario())
    assert account.closed == len(account.connections) == 1
    # Once a failed call at most, not once for each of those who wait.
    warnings = sum(level == logging.WARNING for level, _ in log)
    assert 10 <= warnings <= len(account.calls)


def test_errors_that_may_pass_are_logged_once_a_call(account: Account, log: list[tuple[int, str]]) -> None:
    answers = iter([DOWN, OptimoveResponseError("odd"), TARGET])
    account.data_date = lambda: next(answers)

    async def scenario() -> list[Done]:
        return await asyncio.gather(*(start(data_of(TARGET)) for _ in range(50)))

    assert run(scenario()) == [Done("2024-11-20")] * 50
    assert [text for _, text in log] == [
        "No answer for 50 who wait, 1 failures in a row: GetLastDataUpdate: down (HTTP 503)",
        "No answer for 50 who wait, 2 failures in a row: odd",
        "An answer again, after 2 failures in a row",
    ]


@pytest.mark.parametrize("error", [DENIED, REFUSED, ZeroDivisionError("a slip")])
def test_an_error_that_stays_ends_all_who_wait(account: Account, error: Exception) -> None:
    answers = iter([BEFORE, error])
    account.data_date = lambda: next(answers)

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(start(data_of(TARGET)) for _ in range(20)), return_exceptions=True)

    assert run(scenario()) == [error] * 20
    assert len(account.calls) == 2
    assert account.closed == 1


def test_who_comes_after_the_end_starts_anew(account: Account) -> None:
    async def again() -> Any:
        with pytest.raises(OptimovePermissionError):
            await end_of(data_of(TARGET), optimove_conn_id="a", interval=60)
        # The others have not left yet.
        account.data_date = TARGET
        return await end_of(data_of(TARGET), optimove_conn_id="a", interval=60)

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(again() for _ in range(3)))

    account.data_date = DENIED
    assert run(scenario()) == [Done("2024-11-20")] * 3
    assert account.calls == ["a date"] * 2


def test_the_last_answer_is_for_a_newcomer_if_it_is_young_enough(account: Account) -> None:
    async def scenario() -> None:
        account.data_date = TARGET
        staying = start(data_of(date(2024, 11, 25)), interval=60)
        await until(lambda: account.calls)
        await asyncio.sleep(0.05)
        assert (await start(data_of(TARGET), interval=30)).value == "2024-11-20"
        assert len(account.calls) == 1
        # For this one it is too old.
        assert (await start(data_of(TARGET), interval=0.01)).value == "2024-11-20"
        assert len(account.calls) == 2
        staying.cancel()

    run(scenario())


def test_the_smallest_interval_counts_as_long_as_it_is_asked_for(account: Account) -> None:
    async def scenario() -> None:
        slow = start(data_of(TARGET), interval=60)
        await until(lambda: account.calls)
        await asyncio.sleep(0.05)
        assert len(account.calls) == 1
        quick = start(data_of(TARGET), interval=0.02)
        await until(lambda: len(account.calls) >= 4)
        quick.cancel()
        await asyncio.sleep(0.05)
        at_its_end = len(account.calls)
        await asyncio.sleep(0.1)
        assert len(account.calls) == at_its_end
        slow.cancel()

    run(scenario())


def test_the_interval_of_one_whose_wait_is_over_does_not_count(account: Account) -> None:
    async def scenario() -> None:
        slow = start(data_of(TARGET), interval=60)
        assert (await start(data_of(BEFORE), interval=0.01)).value == "2024-11-19"
        await asyncio.sleep(0.1)
        assert len(account.calls) == 1
        slow.cancel()

    run(scenario())


def test_no_call_takes_long_or_is_repeated() -> None:
    connection = Connection(conn_id="x", conn_type="optimove", host="https://a.b", password="k")
    http = shared_poll._client_from(connection).settings.http
    assert (http.total_timeout, http.retry_limit) == (LONGEST_CALL, 0)


def test_the_client_says_nothing_of_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with OptimoveSandbox() as sandbox:
        sandbox.fail("GetExecutedCampaignDetails", status=200, body="[]", times=None)
        connection = Connection(conn_id="x", **json.loads(sandbox.connection))
        for client in (shared_poll._client_from(connection), client_from_connection(connection)):
            before = len(caplog.messages)
            assert client.get_executed_campaign_details(date=TARGET) == []
            said = [text for text in caplog.messages[before:] if "no data" in text]
            assert len(said) == (0 if client.settings.http.retry_limit == 0 else 1)
            client.close()


def test_a_server_that_fails_is_not_asked_more_often_by_newcomers(account: Account) -> None:
    account.data_date = DOWN

    async def scenario() -> None:
        tasks = []
        for _ in range(20):
            tasks.append(start(data_of(TARGET), interval=5))
            await asyncio.sleep(0.01)
        assert len(account.calls) == 1
        for task in tasks:
            task.cancel()

    run(scenario())


def test_a_cancelled_one_disturbs_nobody(account: Account) -> None:
    release = account.release = threading.Event()
    account.data_date = lambda: TARGET

    async def scenario() -> Done:
        tasks = [start(data_of(TARGET)) for _ in range(10)]
        await until(lambda: account.calls)
        for task in tasks[:-1]:
            task.cancel()
        await asyncio.gather(*tasks[:-1], return_exceptions=True)
        assert all(task.cancelled() for task in tasks[:-1])
        release.set()
        return await tasks[-1]

    assert run(scenario()).value == "2024-11-20"
    assert account.calls == ["a date"]


def polls_under_way() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("poll")]


def test_those_who_come_when_the_answer_is_there_share_a_call(account: Account) -> None:
    """Each is done at once, and gone before the next one comes."""
    account.data_date = TARGET

    async def scenario() -> None:
        for _ in range(20):
            assert await start(data_of(TARGET), interval=60) == Done("2024-11-20")
            await asyncio.sleep(0.01)
        assert account.closed == 0

    run(scenario())
    assert account.calls == ["a date"]
    assert (len(account.connections), account.closed) == (1, 1)


def test_nobody_is_asked_when_nobody_waits(account: Account) -> None:
    async def scenario() -> None:
        account.data_date = TARGET
        await start(data_of(TARGET), interval=0.3)
        await asyncio.sleep(0.1)
        assert (account.closed, len(polls_under_way())) == (0, 1)
        # Whoever comes meanwhile and has seen no answer yet that is young enough gets a new one.
        await start(data_of(TARGET), interval=0.05)
        assert len(account.calls) == 2
        await until(lambda: shared_poll._lines == {})
        await asyncio.sleep(0)
        assert (account.closed, polls_under_way()) == (1, [])

    run(scenario())
    assert len(account.calls) == 2
    assert len(account.connections) == 1


def test_the_last_one_that_leaves_stops_a_poll_without_an_answer(account: Account) -> None:
    account.data_date = DOWN

    async def scenario() -> None:
        first, second = start(data_of(TARGET), interval=60), start(data_of(TARGET), interval=60)
        await until(lambda: account.calls)
        first.cancel()
        await until(first.done)
        assert account.closed == 0
        second.cancel()
        await until(second.done)
        assert shared_poll._lines == {}
        assert account.closed == 1
        await until(lambda: not polls_under_way())

    run(scenario())


def test_nothing_is_kept_of_an_event_loop_that_is_over(account: Account) -> None:
    account.data_date = TARGET

    async def scenario() -> list[weakref.ref[Any]]:
        await start(data_of(TARGET), interval=60)
        (line,) = shared_poll._lines.values()
        return [weakref.ref(kept) for kept in (line, line._client, *line.polls.values())]

    kept = run(scenario())
    gc.collect()
    assert [reference() for reference in kept] == [None] * 3
    assert account.closed == 1


def test_a_poll_that_is_cancelled_fails_those_who_wait(account: Account) -> None:
    async def scenario() -> list[Any]:
        tasks = [start(data_of(TARGET), interval=60) for _ in range(3)]
        await until(lambda: account.calls)
        (poll,) = (task for task in asyncio.all_tasks() if task.get_name().startswith("poll"))
        poll.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        account.data_date = TARGET
        assert await start(data_of(TARGET), interval=60) == Done("2024-11-20")
        return ended

    ended = run(scenario())
    assert [(type(error), str(error)) for error in ended] == [(OptimoveError, "the poll was cancelled")] * 3


def test_one_that_cannot_join_leaves_nothing_behind(account: Account) -> None:
    class Broken(DataDateWait):
        def judge(self, answer: Any, now: datetime) -> Any:
            raise ZeroDivisionError("a slip")

    async def scenario() -> None:
        staying = start(data_of(TARGET), interval=60)
        await until(lambda: account.calls)
        await asyncio.sleep(0.05)
        with pytest.raises(ZeroDivisionError):
            await start(Broken(TARGET), interval=60)
        (line,) = shared_poll._lines.values()
        (poll,) = line.polls.values()
        assert len(poll._waiters) == 1
        staying.cancel()

    run(scenario())


def test_connections_and_campaigns_have_their_own_polls(account: Account) -> None:
    account.campaign = {"Status": "Not Run", "Error": None}

    async def scenario() -> None:
        waits = [data_of(TARGET), campaign_wait(1), CampaignWait(1, ("Partially Run",)), campaign_wait(2)]
        tasks = [start(wait, interval=60, conn=conn) for wait in [*waits, campaign_wait(1, 504)] for conn in "ab"]
        await until(lambda: len(account.calls) == 8)
        for task in tasks:
            task.cancel()

    account.data_date = BEFORE
    run(scenario())
    each = ["date", "campaign 1", "campaign 2", "campaign 1 on 504"]
    assert Counter(account.calls) == Counter(f"{conn} {call}" for conn in "ab" for call in each)
    assert sorted(account.connections) == ["a", "b"]
    assert account.closed == 2


def test_few_calls_of_a_connection_are_under_way_at_a_time(account: Account) -> None:
    release = threading.Event()
    account.campaign = {"Status": "Not Run", "Error": None}

    async def scenario() -> None:
        tasks = [start(data_of(TARGET), interval=60)]
        await until(lambda: len(account.calls) == 1)
        account.release = release
        # A call that nobody waits for any more is under way, too.
        for task in [start(campaign_wait(number), interval=60) for number in range(4)]:
            await until(lambda: len(account.calls) == 5)
            task.cancel()
        tasks += [start(campaign_wait(number), interval=60) for number in range(4, 20)]
        await asyncio.sleep(0.1)
        assert len(account.calls) == 5
        release.set()
        await until(lambda: len(account.calls) == 21)
        for task in tasks:
            task.cancel()

    run(scenario())
    assert account.most_at_a_time == 4


def test_a_slow_campaign_does_not_keep_the_data_date_waiting(account: Account) -> None:
    release = threading.Event()
    account.campaign = lambda: release.wait(10) and {"Status": "Successful", "Error": None}
    account.data_date = TARGET

    async def scenario() -> None:
        slow = [start(campaign_wait(number), interval=60) for number in range(3)]
        await until(lambda: len(account.calls) == 3)
        assert await start(data_of(TARGET)) == Done("2024-11-20")
        assert not any(task.done() for task in slow)
        release.set()
        await asyncio.gather(*slow)

    run(scenario())
    assert len(account.connections) == 1


def test_a_connection_is_read_once_by_all_whose_key_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.campaign = {"Status": "Not Run", "Error": None}

    async def scenario() -> None:
        release = account.release = threading.Event()
        tasks = [start(campaign_wait(number)) for number in range(4)]
        await until(lambda: len(account.calls) == 4)
        define(monkeypatch, "A", key="new")
        account.right_key, account.campaign = "new", {"Status": "Successful", "Error": None}
        release.set()
        await asyncio.gather(*tasks)

    run(scenario())
    assert account.connections == ["a", "a"]
    assert account.closed == 2


def test_after_a_failure_it_asks_soon_and_then_later_and_later(
    account: Account, monkeypatch: pytest.MonkeyPatch, log: list[tuple[int, str]]
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(shared_poll, "FIRST_PAUSE", 0.001)

    class Poll(shared_poll._Poll):
        async def _is_due(self) -> bool:
            if self._failures:
                pauses.append(min(0.05, 0.001 * 2 ** (self._failures - 1)))
            due = await super()._is_due()
            if self._failures:
                assert self._wakes_at - self._asked_at == pytest.approx(pauses[-1])
            return due

    monkeypatch.setattr(shared_poll, "_Poll", Poll)
    account.data_date = lambda: TARGET if len(account.calls) == 10 else DOWN

    async def scenario() -> None:
        await start(data_of(TARGET), interval=0.05)

    run(scenario())
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.05]
    assert [(level, text.partition(":")[0]) for level, text in log] == [
        *((logging.WARNING, f"No answer for 1 who wait, {failures} failures in a row") for failures in (1, 2, 4, 8)),
        (logging.INFO, "An answer again, after 9 failures in a row"),
    ]


def test_two_event_loops_do_not_mix(account: Account) -> None:
    together = threading.Barrier(2, timeout=10)
    threads_of_calls: set[int] = set()

    def answer() -> date:
        threads_of_calls.add(threading.get_ident())
        return TARGET if len(account.calls) > 8 else BEFORE

    account.data_date = answer
    results: list[Any] = []

    def loop() -> None:
        async def scenario() -> list[Done]:
            together.wait()
            return await asyncio.gather(*(start(data_of(TARGET)) for _ in range(5)))

        results.extend(run(scenario()))

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [Done("2024-11-20")] * 10
    assert account.connections == ["a", "a"]
    assert account.closed == 2
    assert len(threads_of_calls) >= 2


def test_a_key_that_was_changed_meanwhile_is_read_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> list[Done]:
        tasks = [start(data_of(TARGET)) for _ in range(5)]
        await until(lambda: len(account.calls) >= 2)
        define(monkeypatch, "A", key="new")
        account.right_key, account.data_date = "new", TARGET
        return await asyncio.gather(*tasks)

    assert run(scenario()) == [Done("2024-11-20")] * 5
    assert account.connections == ["a", "a"]
    assert account.closed == 2


@pytest.mark.parametrize(("key", "calls"), [("old", 1), ("also wrong", 2)])
def test_a_key_that_stays_wrong_ends_the_wait(
    account: Account, monkeypatch: pytest.MonkeyPatch, key: str, calls: int
) -> None:
    account.right_key = "right"

    def change() -> date:
        raise AssertionError("a wrong key gets no answer")

    account.data_date = change

    async def scenario() -> None:
        task = start(data_of(TARGET))
        account.release = threading.Event()
        await until(lambda: account.calls)
        define(monkeypatch, "A", key=key)
        account.release.set()
        with pytest.raises(OptimoveAuthenticationError):
            await task

    run(scenario())
    # The same key is not sent again.
    assert len(account.calls) == calls


def test_a_connection_that_was_changed_is_noticed_after_a_while(
    account: Account, monkeypatch: pytest.MonkeyPatch, log: list[tuple[int, str]]
) -> None:
    """Who waits for long shall not go on with a key or a host of last year, even if they still work."""
    monkeypatch.setattr(shared_poll, "CONNECTION_IS_GOOD_FOR", 0.1)
    keys: list[str] = []

    def read(client: Client) -> date:
        keys.append(client.settings)
        return BEFORE

    monkeypatch.setattr(Client, "get_last_data_update", read)

    async def scenario() -> None:
        task = start(data_of(TARGET))
        await until(lambda: len(account.connections) > 1)
        define(monkeypatch, "A", key="new")
        await until(lambda: "new" in keys)
        # Nor shall they stop because it cannot be read for a moment.
        monkeypatch.delenv("AIRFLOW_CONN_A")
        await until(lambda: sum(level == logging.WARNING for level, _ in log) > 4)
        assert not task.done()
        task.cancel()

    run(scenario())
    assert keys == sorted(keys, reverse=True)
    assert next(text for level, text in log if level == logging.WARNING).startswith(
        "Going on with the connection as it"
    )
    assert account.closed == 2


def test_what_goes_wrong_is_in_the_log_of_a_task_that_waits(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    said: list[str] = []

    class Recorder(logging.Logger):
        def handle(self, record: logging.LogRecord) -> None:
            said.append(name.get())

    monkeypatch.setattr(shared_poll, "log", Recorder("recorder", logging.WARNING))
    account.data_date = DOWN

    async def one(who: str, of_task: bool) -> None:
        name.set(who)
        await end_of(data_of(TARGET), optimove_conn_id="a", interval=0.02, of_task=of_task)

    async def scenario() -> None:
        watcher = asyncio.create_task(one("watcher", False))
        await until(lambda: said)
        task = asyncio.create_task(one("task", True))
        await until(lambda: "task" in said)
        watcher.cancel()
        task.cancel()

    run(scenario())
    assert said == sorted(said, reverse=True)


@pytest.mark.parametrize(("days_ahead", "interval", "pause"), [(30, 60, 900), (30, 3600, 3600), (-3, 60, 60)], ids=str)
def test_the_poll_slows_down_while_the_answer_cannot_come(
    account: Account, days_ahead: int, interval: float, pause: float
) -> None:
    async def scenario() -> None:
        waiter = shared_poll._Waiter(
            data_of(datetime.now(UTC).date() + timedelta(days=days_ahead)), interval, of_task=True
        )
        waiter.take(date(2020, 1, 1))
        assert waiter.pause == pause

    run(scenario())


def test_the_poll_is_back_when_the_answer_may_come(account: Account) -> None:
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    sends = [{"SendID": "S1", "TemplateID": 1, "ScheduledTime": due.isoformat()}]
    account.campaign = sends

    async def scenario() -> Done:
        return await end_of(campaign_wait(1, 504), optimove_conn_id="a", interval=0.01)

    assert run(scenario()).value == sends
    assert datetime.now(UTC) >= due
    # At once, and when they are due; a clock may be a moment early.
    assert 2 <= len(account.calls) <= 3


def test_what_is_found_is_logged_when_it_changes(account: Account, log: list[tuple[int, str]]) -> None:
    found = [BEFORE - timedelta(days=1), BEFORE - timedelta(days=1), BEFORE, BEFORE, TARGET]
    account.data_date = lambda: found[len(account.calls) - 1]

    async def scenario() -> None:
        await start(data_of(TARGET))

    run(scenario())
    assert log == [
        (logging.INFO, "GetLastDataUpdate: 2024-11-18, waiting for data of 2024-11-20"),
        (logging.INFO, "GetLastDataUpdate: 2024-11-19, waiting for data of 2024-11-20"),
    ]


def test_an_answer_that_cannot_be_read_is_waited_out(account: Account, log: list[tuple[int, str]]) -> None:
    answers = iter([[{"SendID": "S1", "ScheduledTime": "soon"}], [{"ScheduledTime": "2024-11-20 08:00:00"}]])
    account.campaign = lambda: next(answers)

    async def scenario() -> None:
        await start(campaign_wait(1, 504))

    run(scenario())
    assert [level for level, _ in log] == [logging.WARNING]
    assert "'soon'" in log[0][1]


def test_campaign_triggers_with_other_states_share_their_calls(account: Account) -> None:
    account.campaign = {"Status": "Partially Run", "Error": "Some had no device"}

    async def event_of(*states: str) -> str:
        return str((await payload_of(OptimoveCampaignTrigger("a", 7, allowed_states=states)))["status"])

    async def scenario() -> list[str]:
        return list(await asyncio.gather(event_of("Successful"), event_of("Successful", "partially run")))

    assert run(scenario()) == ["error", "success"]
    assert account.calls == ["a campaign 7"]


def test_lines_go_into_the_log_of_the_one_who_waits(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow tells by context variables which task's log a line belongs to."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    said: list[tuple[str, int]] = []

    class Recorder(logging.Logger):
        def handle(self, record: logging.LogRecord) -> None:
            said.append((name.get(), record.levelno))

    monkeypatch.setattr(shared_poll, "log", Recorder("recorder", logging.DEBUG))
    callers: list[str] = []
    answers = iter([BEFORE, DOWN, TARGET])

    def answer() -> Any:
        callers.append(name.get())
        return next(answers)

    account.data_date = answer

    async def one(who: str) -> None:
        name.set(who)
        await end_of(data_of(TARGET), optimove_conn_id="a", interval=0.02)

    async def scenario() -> None:
        await asyncio.gather(one("first"), one("second"))

    run(scenario())
    assert said == [
        ("first", logging.INFO),
        ("second", logging.INFO),
        ("first", logging.WARNING),
        ("first", logging.INFO),
    ]
    assert callers == ["nobody"] * 3
