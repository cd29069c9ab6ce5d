"""The watchers in an event loop, against the sandbox, with Airflow's own accessors over a store of the test's own."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.assets.events import OptimoveEvent
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.triggers import known, shared_poll, watching
from airflow_provider_optimove.triggers import optimove as triggers
from airflow_provider_optimove.triggers.events import success_event
from airflow_provider_optimove.triggers.optimove import (
    OptimoveExecutedCampaignsEventTrigger,
    OptimoveLastDataUpdateEventTrigger,
    OptimoveLastDataUpdateTrigger,
)
from airflow_provider_optimove.triggers.watching import DataDates
from tests.triggers.conftest import Lines, run, until

BOTH = [OptimoveLastDataUpdateEventTrigger, OptimoveExecutedCampaignsEventTrigger]
CONN = "optimove_watched"
DATE_KEY = f"optimove_data_date/{CONN}"
CAMPAIGNS_KEY = f"optimove_executed_campaigns/{CONN}"
BEFORE, DAY, NEXT, LATER = (date(2024, 11, number) for number in (19, 20, 21, 24))
NOON = datetime(2024, 11, 20, 12, tzinfo=UTC)
INTERVAL = 0.02

needs_watchers = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="asset watchers came with Airflow 3")


class Store:
    """The states of assets, by asset and key, and what was done to them and when."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.history: list[Any] = []
        self.get_fails = 0
        self.set_fails = 0

    def of(self, *assets: str) -> Any:
        """What Airflow gives to a trigger that watches these assets."""
        return StoreOfAssets(self, *assets)

    async def get(self, asset: str, key: str) -> Any:
        await asyncio.sleep(0)
        self.history.append("get")
        if self.get_fails:
            self.get_fails -= 1
            raise RuntimeError("the store is away")
        return self.values.get(asset, {}).get(key)

    async def set(self, asset: str, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        if self.set_fails:
            self.set_fails -= 1
            raise RuntimeError("the store is away")
        value = json.loads(json.dumps(value))
        self.history.append(value)
        self.values.setdefault(asset, {})[key] = value


def StoreOfAssets(store: Store, *assets: str) -> Any:
    """Airflow's own accessors where it has them (3.3), over a store of the test's."""
    context = importlib.import_module("airflow.sdk.execution_time.context")
    if not hasattr(context, "AssetStateStoreAccessors"):
        pytest.skip("the state of assets came with Airflow 3.3")

    class Accessor(context.AssetStateStoreAccessor):  # type: ignore[misc,name-defined]
        async def aget(self, key: str, default: Any = None) -> Any:
            return await store.get(self._name, key)

        async def aset(self, key: str, value: Any) -> None:
            await store.set(self._name, key, value)

    accessors = context.AssetStateStoreAccessors(inlets=[Asset(name) for name in assets])
    accessors._by_name = {name: Accessor(name=name) for name in accessors._by_name}
    return accessors


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[OptimoveSandbox]:
    monkeypatch.setattr(watching, "EVENTS_APART", INTERVAL)
    monkeypatch.setattr(watching, "PAUSE_AFTER_AN_ERROR", INTERVAL)
    monkeypatch.setattr(watching, "PAUSE_WITHOUT_STATE", INTERVAL)
    with OptimoveSandbox(last_data_update=BEFORE, today=NOON.date()) as sandbox:
        define(monkeypatch, sandbox)
        yield sandbox
    assert shared_poll._lines == {}


def define(monkeypatch: pytest.MonkeyPatch, sandbox: OptimoveSandbox, **changed: Any) -> None:
    connection = json.loads(sandbox.connection) | {"extra": {"rate_limit": "off"} | changed.pop("extra", {})} | changed
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN.upper()}", json.dumps(connection))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the present of the watchers."""

    def set_to(present: datetime) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return present.astimezone(tz)

        monkeypatch.setattr(watching, "datetime", Stopped)
        monkeypatch.setattr(shared_poll, "datetime", Stopped)

    set_to(NOON)
    return set_to


@pytest.fixture
def log(record_log: Callable[..., Lines]) -> Lines:
    return record_log(watching, shared_poll, level=logging.INFO)


def data_watcher(store: Any = None, interval: float = INTERVAL) -> Any:
    trigger: Any = OptimoveLastDataUpdateEventTrigger(CONN, interval)
    trigger.asset_state_store = store
    return trigger


def campaign_watcher(store: Any = None) -> Any:
    trigger: Any = OptimoveExecutedCampaignsEventTrigger(CONN, INTERVAL)
    trigger.asset_state_store = store
    return trigger


@asynccontextmanager
async def fired_by(trigger: Any, history: list[Any] | None = None) -> AsyncIterator[list[Any]]:
    """What a trigger fires while a triggerer runs it; it must not end by itself."""
    payloads: list[Any] = []

    async def consume() -> None:
        async for event in trigger.run():
            payloads.append(json.loads(json.dumps(event.payload)))
            if history is not None:
                history.append(("fired", event.payload))

    task = asyncio.create_task(consume())
    try:
        yield payloads
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def more_calls(sandbox: OptimoveSandbox, number: int = 3) -> None:
    enough = len(sandbox.calls) + number
    await until(lambda: len(sandbox.calls) >= enough)


# Both


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="there are asset watchers")
@pytest.mark.parametrize("kind", BOTH)
def test_airflow_2_is_told_what_to_do_instead(kind: Any) -> None:
    with pytest.raises(OptimoveInputError, match=r"EventTrigger needs Airflow 3; on Airflow 2, .* deferrable"):
        kind()


@needs_watchers
@pytest.mark.parametrize("kind", BOTH)
def test_a_triggerer_can_build_it_again_from_json(kind: Any) -> None:
    path, arguments = kind("of_a_brand", poll_interval=5.0).serialize()
    assert path == f"airflow_provider_optimove.triggers.optimove.{kind.__name__}"
    assert arguments == {"optimove_conn_id": "of_a_brand", "poll_interval": 5.0}
    again = getattr(triggers, kind.__name__)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    assert kind().serialize()[1] == {"optimove_conn_id": "optimove_default", "poll_interval": 60.0}


@needs_watchers
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("interval", [0, -1, "60", None, float("nan"), float("inf"), timedelta(0)], ids=str)
def test_an_interval_that_is_none_is_told_when_the_dag_is_parsed(kind: Any, interval: Any) -> None:
    with pytest.raises(OptimoveInputError, match=r"^poll_interval: .* is not a number of seconds above 0$"):
        kind(poll_interval=interval)


@needs_watchers
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("interval", [90, 90.0, timedelta(seconds=90)], ids=str)
def test_an_interval_is_what_it_is_for_sensors(kind: Any, interval: Any) -> None:
    # As text: equal triggers are one in Airflow, which compares what is written.
    assert json.dumps(kind(poll_interval=interval).serialize()[1]["poll_interval"]) == "90.0"


@needs_watchers
@pytest.mark.parametrize("kind", BOTH)
def test_it_watches_an_asset(kind: Any) -> None:
    sdk = importlib.import_module("airflow.sdk")
    watcher = sdk.AssetWatcher(name="w", trigger=kind())
    assert sdk.Asset("a", watchers=[watcher]).watchers == [watcher]


@needs_watchers
@pytest.mark.parametrize(("number", "kind"), enumerate(BOTH))
def test_snippets_of_the_waiting_page_watch(number: int, kind: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "waiting.md").read_text()
    snippets = [part for part in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "AssetWatcher" in part]
    names: dict[str, Any] = {}
    exec(compile(snippets[number], "waiting.md", "exec", dont_inherit=True), names)
    (watcher,) = [name for name in names.values() if type(name).__name__ == "AssetWatcher"]
    assert type(watcher.trigger) is kind
    (function,) = [name for name in names if name.startswith("on_")]
    assert names[function]().timetable.asset_condition.watchers == [watcher]


def test_facts_of_the_waiting_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "waiting.md").read_text()
    for fact in (
        f"`{DataDates.name}/<connection id>`",
        "in the five seconds after an event",
        "Events are five seconds apart",
        "an error every quarter of an hour",
        "an error every minute",
        "a changed connection within a quarter of an hour",
        "up to a week",
    ):
        assert fact in page
    assert (watching.EVENTS_APART, watching.PAUSE_WITHOUT_STATE, known.KEPT_DAYS) == (5, 60, 7)
    assert watching.PAUSE_AFTER_AN_ERROR == shared_poll.CONNECTION_IS_GOOD_FOR == 900


@needs_watchers
class TestDataDates:
    def test_what_is_there_at_first_is_not_fired(
        self, sandbox: OptimoveSandbox, store: Store, log: list[tuple[int, str]]
    ) -> None:
        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await more_calls(sandbox)
                assert payloads == []

        run(scenario())
        assert store.values == {"data": {DATE_KEY: {"fired": "2024-11-19"}}}
        # Nothing is kept where nothing happens.
        assert [step for step in store.history if step != "get"] == [{"fired": "2024-11-19"}]
        assert log[0] == (logging.INFO, "The newest data is of 2024-11-19; later dates are fired")

    def test_each_new_date_is_fired_once(self, sandbox: OptimoveSandbox, store: Store) -> None:
        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await more_calls(sandbox)
                for day in (DAY, NEXT):
                    sandbox.last_data_update = day
                    await until(lambda: payloads[-1:] == [{"date": sandbox.last_data_update.isoformat()}])
                    await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-20"}, {"date": "2024-11-21"}]

        run(scenario())
        assert store.values["data"][DATE_KEY] == {"fired": "2024-11-21"}

    def test_of_several_dates_the_newest_is_fired(self, sandbox: OptimoveSandbox, store: Store) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}
        sandbox.last_data_update = LATER

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-24"}]

        run(scenario())

    def test_what_is_kept_says_at_every_moment_whether_the_event_may_be_lost(
        self, sandbox: OptimoveSandbox, store: Store
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}
        sandbox.last_data_update = DAY

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data")), store.history):
                await until(lambda: {"fired": "2024-11-20"} in store.history)

        run(scenario())
        done = [step for step in store.history if step != "get"]
        assert done[:3] == [
            {"fired": "2024-11-19", "firing": {"date": "2024-11-20"}},
            ("fired", {"date": "2024-11-20"}),
            {"fired": "2024-11-20"},
        ]
        # Not before Airflow has answered something else.
        assert store.history[store.history.index(done[1]) + 1 :][:2] == ["get", {"fired": "2024-11-20"}]

    @pytest.mark.parametrize(
        ("kept", "fired"),
        [
            ({"fired": "2024-11-20"}, []),
            ({"fired": "2024-11-20", "firing": {"date": "2024-11-20"}}, []),
            ({"fired": "2024-11-19"}, [{"date": "2024-11-20"}]),
            ({"fired": "2024-11-19", "firing": {"date": "2024-11-20"}}, [{"date": "2024-11-20", "repeated": True}]),
            (
                {"fired": "2024-11-17", "firing": {"date": "2024-11-18"}},
                [{"date": "2024-11-18", "repeated": True}, {"date": "2024-11-20"}],
            ),
        ],
        ids=str,
    )
    def test_a_restart(self, sandbox: OptimoveSandbox, store: Store, kept: Any, fired: Any) -> None:
        store.values["data"] = {DATE_KEY: kept}
        sandbox.last_data_update = DAY

        async def scenario() -> None:
            nothing: list[Any] = []
            for expected in (fired, nothing):
                async with fired_by(data_watcher(store.of("data"))) as payloads:
                    await more_calls(sandbox, 4)
                    await until(lambda: store.values["data"][DATE_KEY]["fired"] == "2024-11-20")
                assert payloads == expected

        run(scenario())

    def test_one_that_dies_before_airflow_has_the_event_fires_it_again_and_says_so(
        self, sandbox: OptimoveSandbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}
        sandbox.last_data_update = DAY

        async def scenario() -> None:
            monkeypatch.setattr(watching, "EVENTS_APART", 60)
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: payloads)
            monkeypatch.setattr(watching, "EVENTS_APART", INTERVAL)
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await more_calls(sandbox)
            assert payloads == [{"date": "2024-11-20", "repeated": True}]

        run(scenario())

    def test_a_date_that_goes_back_and_returns_is_no_news(self, sandbox: OptimoveSandbox, store: Store) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-20"}}

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                for day in (DAY, BEFORE, DAY):
                    sandbox.last_data_update = day
                    await more_calls(sandbox)
                assert payloads == []
                sandbox.last_data_update = NEXT
                await until(lambda: payloads)
                assert payloads == [{"date": "2024-11-21"}]

        run(scenario())

    @pytest.mark.parametrize(("day", "warnings"), [(DAY, 0), (NEXT, 0), (LATER, 1)], ids=str)
    def test_a_day_to_come_is_fired_with_a_warning(
        self,
        sandbox: OptimoveSandbox,
        store: Store,
        clock: Callable[[datetime], None],
        log: list[tuple[int, str]],
        day: date,
        warnings: int,
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}
        sandbox.last_data_update = day

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: payloads)
                assert payloads == [{"date": day.isoformat()}]

        run(scenario())
        text = "The newest data is of 2024-11-24, a day to come: no earlier date is fired after it"
        assert [text for level, text in log if level == logging.WARNING] == [text] * warnings

    def test_a_store_of_another_airflow_serves_one_asset(
        self, sandbox: OptimoveSandbox, store: Store, log: list[tuple[int, str]]
    ) -> None:
        class Another:
            async def aget(self, key: str) -> Any:
                return await store.get("data", key)

            async def aset(self, key: str, value: Any) -> None:
                await store.set("data", key, value)

        store.values["data"] = {DATE_KEY: {"fired": "2024-11-18"}}

        async def scenario() -> None:
            async with fired_by(data_watcher(Another())) as payloads:
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-19"}]

        run(scenario())
        assert store.values["data"][DATE_KEY] == {"fired": "2024-11-19"}
        assert [text for level, text in log if level == logging.WARNING] == [
            "This Airflow keeps the states of assets in another way: only one asset can be watched"
        ]

    def test_before_airflow_3_3_what_is_there_at_the_start_is_known(self, sandbox: OptimoveSandbox) -> None:
        async def scenario() -> None:
            trigger = data_watcher()
            # Airflow before 3.3 does not even have the name.
            del trigger.asset_state_store
            async with fired_by(trigger) as payloads:
                await more_calls(sandbox)
                sandbox.last_data_update = DAY
                await until(lambda: payloads)
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-20"}]

        run(scenario())

    def test_what_another_triggerer_has_fired_meanwhile_is_not_fired_again(
        self, sandbox: OptimoveSandbox, store: Store
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await more_calls(sandbox)
                store.values["data"][DATE_KEY] = {"fired": "2024-11-20"}
                sandbox.last_data_update = DAY
                await more_calls(sandbox)
                assert payloads == []
                sandbox.last_data_update = NEXT
                await until(lambda: payloads)
                assert payloads == [{"date": "2024-11-21"}]

        run(scenario())

    def test_several_assets_have_one_memory(self, sandbox: OptimoveSandbox, store: Store) -> None:
        store.values = {"a": {DATE_KEY: {"fired": "2024-11-19", "firing": {"date": "2024-11-20"}}}}
        # The event went to both; the triggerer died before it had kept that for the first one.
        store.values["b"] = {DATE_KEY: {"fired": "2024-11-20"}}
        sandbox.last_data_update = DAY

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("a", "b", "c"))) as payloads:
                await more_calls(sandbox)
                assert payloads == []
                sandbox.last_data_update = NEXT
                await until(lambda: payloads)
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-21"}]

        run(scenario())
        assert store.values == {name: {DATE_KEY: {"fired": "2024-11-21"}} for name in "abc"}

    def test_two_watchers_of_an_asset_fire_each_date_once(self, sandbox: OptimoveSandbox, store: Store) -> None:
        async def scenario() -> None:
            one, other = (data_watcher(store.of("data"), interval) for interval in (INTERVAL, INTERVAL * 1.5))
            async with fired_by(one) as first, fired_by(other) as second:
                await more_calls(sandbox, 6)
                for day in (DAY, NEXT, LATER):
                    sandbox.last_data_update = day
                    await until(
                        lambda: store.values["data"][DATE_KEY] == {"fired": sandbox.last_data_update.isoformat()}
                    )
                    await more_calls(sandbox, 6)
                fired = sorted(first + second, key=lambda payload: payload["date"])
                assert fired == [{"date": f"2024-11-{day}"} for day in (20, 21, 24)]

        run(scenario())
        assert not watching._locks

    def test_what_another_one_has_begun_with_is_not_known_already(
        self, sandbox: OptimoveSandbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = DataDates._look

        async def slow(self: Any, known_dates: Any) -> Any:
            found = await look(self, known_dates)
            if known_dates is None:
                store.values["data"] = {DATE_KEY: {"fired": "2024-11-18"}}
            return found

        monkeypatch.setattr(DataDates, "_look", slow)

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: payloads)
                assert payloads == [{"date": "2024-11-19"}]

        run(scenario())

    def test_where_the_store_goes_away_it_goes_on_in_memory(
        self, sandbox: OptimoveSandbox, store: Store, log: list[tuple[int, str]]
    ) -> None:
        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await more_calls(sandbox)
                store.get_fails = store.set_fails = 10_000
                for day in (DAY, NEXT):
                    sandbox.last_data_update = day
                    await more_calls(sandbox, 6)
                assert payloads == [{"date": "2024-11-20"}, {"date": "2024-11-21"}]
                # It is there again.
                store.get_fails = store.set_fails = 0
                sandbox.last_data_update = LATER
                await until(lambda: len(payloads) == 3)
                await more_calls(sandbox)

        run(scenario())
        assert store.values["data"][DATE_KEY] == {"fired": "2024-11-24"}
        assert any("data" in text and "the store is away" in text for level, text in log if level == logging.WARNING)

    def test_a_store_that_can_only_be_read_does_not_hold_it_up(self, sandbox: OptimoveSandbox, store: Store) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-18", "firing": {"date": "2024-11-19"}}}
        store.set_fails = 10_000

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: payloads)
                sandbox.last_data_update = DAY
                await until(lambda: len(payloads) == 2)
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-19", "repeated": True}, {"date": "2024-11-20"}]

        run(scenario())

    def test_until_the_store_can_be_read_nothing_counts_as_known(
        self, sandbox: OptimoveSandbox, store: Store, log: list[tuple[int, str]]
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-18"}}
        store.get_fails = 10_000

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: len(log) > 5)
                assert not sandbox.calls
                store.get_fails = 0
                await until(lambda: payloads)
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-19"}]

        run(scenario())
        text = "what was fired cannot be read: <AssetStateStoreAccessor name='data'>: the store is away"
        assert log[0] == (logging.ERROR, f"{text}; the next try is in 0 seconds")

    def test_of_several_assets_one_that_can_be_read_is_enough(self, sandbox: OptimoveSandbox, store: Store) -> None:
        store.values["b"] = {DATE_KEY: {"fired": "2024-11-18"}}
        store.get_fails = 1

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("a", "b"))) as payloads:
                await more_calls(sandbox)
                assert payloads == [{"date": "2024-11-19"}]

        run(scenario())

    @pytest.mark.parametrize(
        "kept",
        ["x", 7, [], {}, {"fired": 7}, {"fired": "x"}, {"fired": "2024-11-19", "firing": "x"}, {"fired": None}],
        ids=str,
    )
    def test_what_somebody_else_wrote_there_is_left_until_it_is_mended(
        self, sandbox: OptimoveSandbox, store: Store, log: list[tuple[int, str]], kept: Any
    ) -> None:
        store.values = {"a": {DATE_KEY: {"fired": "2024-11-18"}}, "data": {DATE_KEY: kept}}

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("a", "data"))) as payloads:
                await until(lambda: len(log) > 5)
                assert store.values["data"][DATE_KEY] == kept
                assert payloads == []
                del store.values["data"]
                await until(lambda: payloads)
                assert payloads == [{"date": "2024-11-19"}]

        run(scenario())
        assert log[0][0] == logging.ERROR
        assert f"{DATE_KEY} in <AssetStateStoreAccessor name='data'> is not what was kept there" in log[0][1]

    def test_errors_that_may_pass_are_ridden_out(
        self, sandbox: OptimoveSandbox, store: Store, log: list[tuple[int, str]]
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}
        sandbox.fail("GetLastDataUpdate", body="<html>", content_type="text/html", times=3)
        sandbox.last_data_update = DAY

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: payloads)

        run(scenario())
        assert logging.WARNING in [level for level, _ in log]
        assert logging.ERROR not in [level for level, _ in log]

    @pytest.mark.parametrize("wrong", [{"password": "revoked"}, {"host": ""}, {"extra": {"timezone": "Mars"}}], ids=str)
    @pytest.mark.parametrize("kind", [data_watcher, campaign_watcher])
    def test_a_connection_that_is_wrong_is_read_again(
        self,
        sandbox: OptimoveSandbox,
        store: Store,
        log: list[tuple[int, str]],
        monkeypatch: pytest.MonkeyPatch,
        kind: Any,
        wrong: Any,
    ) -> None:
        define(monkeypatch, sandbox, **wrong)

        def errors() -> list[str]:
            return [text for level, text in log if level == logging.ERROR]

        async def scenario() -> None:
            async with fired_by(kind(store.of("data"))):
                await until(lambda: len(errors()) > 1)
                define(monkeypatch, sandbox)
                await until(lambda: store.values)

        run(scenario())
        assert all("the next look is in" in text for text in errors())
        assert "revoked" not in str(log)

    def test_a_connection_that_is_missing_is_looked_for_again(
        self, sandbox: OptimoveSandbox, log: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(f"AIRFLOW_CONN_{CONN.upper()}")

        async def scenario() -> None:
            async with fired_by(data_watcher()):
                await until(lambda: any(level == logging.ERROR for level, _ in log))
                define(monkeypatch, sandbox)
                await more_calls(sandbox)

        run(scenario())

    def test_a_slip_does_not_end_it(
        self,
        sandbox: OptimoveSandbox,
        store: Store,
        log: list[tuple[int, str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store.values["data"] = {DATE_KEY: {"fired": "2024-11-19"}}
        sandbox.last_data_update = DAY
        look, slips = DataDates._look, [ZeroDivisionError("a slip")]

        async def slip(self: Any, *arguments: Any) -> Any:
            if slips:
                raise slips.pop()
            return await look(self, *arguments)

        monkeypatch.setattr(DataDates, "_look", slip)

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"))) as payloads:
                await until(lambda: payloads)

        run(scenario())
        assert log[0][0] == logging.ERROR

    def test_the_pause_after_an_error_is_at_least_the_interval(self) -> None:
        assert DataDates(CONN, 3600, None).pause_after_an_error == 3600
        assert DataDates(CONN, 60, None).pause_after_an_error == 900

    def test_its_errors_are_in_the_log_of_a_task_that_waits_too(
        self, sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="the triggerer")
        said: list[str] = []

        class Recorder(logging.Logger):
            def handle(self, record: logging.LogRecord) -> None:
                said.append(whose.get())

        monkeypatch.setattr(shared_poll, "log", Recorder("recorder", logging.WARNING))

        async def sensor() -> None:
            whose.set("a task")
            await anext(OptimoveLastDataUpdateTrigger(CONN, "2024-11-20", INTERVAL).run())

        async def scenario() -> None:
            async with fired_by(data_watcher()):
                await more_calls(sandbox)
                task = asyncio.create_task(sensor())
                await more_calls(sandbox)
                sandbox.fail("GetLastDataUpdate", body="<html>", content_type="text/html", times=2)
                await until(lambda: len(said) == 2)
                task.cancel()

        run(scenario())
        assert said == ["a task"] * 2

    def test_one_alone_makes_one_call_an_interval(self, sandbox: OptimoveSandbox, store: Store) -> None:
        interval = 0.2

        async def scenario() -> None:
            async with fired_by(data_watcher(store.of("data"), interval)) as payloads:
                await more_calls(sandbox)
                sandbox.last_data_update = DAY
                await until(lambda: payloads)
                await more_calls(sandbox, 2)

        run(scenario())
        assert min(after.time - before.time for before, after in pairwise(sandbox.calls)) >= interval

    def test_sensors_and_watchers_of_a_connection_make_one_call_a_poll(
        self, sandbox: OptimoveSandbox, store: Store
    ) -> None:
        interval = 0.3

        async def payload_of_a_sensor() -> Any:
            waiting = OptimoveLastDataUpdateTrigger(CONN, "2024-11-20", interval)
            return [event.payload async for event in waiting.run()]

        async def scenario() -> None:
            sensors = [asyncio.create_task(payload_of_a_sensor()) for _ in range(50)]
            watchers = [data_watcher(store.of(name), interval) for name in "abc"]
            async with (
                fired_by(watchers[0]) as first,
                fired_by(watchers[1]) as second,
                fired_by(watchers[2]) as third,
            ):
                await until(lambda: len(sandbox.calls) >= 6)
                sandbox.last_data_update = DAY
                ends = await asyncio.gather(*sensors)
                await until(lambda: first and second and third)
                assert ends == [[success_event("2024-11-20", {"target_date": "2024-11-20"})]] * 50
                assert [first, second, third] == [[{"date": "2024-11-20"}]] * 3

        run(scenario())
        times = [call.time for call in sandbox.calls]
        assert min(after - before for before, after in pairwise(times)) >= interval


@needs_watchers
class TestCampaigns:
    @staticmethod
    def executed(sandbox: OptimoveSandbox, *days: date) -> list[Any]:
        return [
            {"CampaignID": campaign.number, "Date": day.isoformat()}
            for day in days
            for campaign in sandbox.executed_campaigns(day)
        ]

    def test_what_is_there_at_first_is_not_fired(
        self, sandbox: OptimoveSandbox, store: Store, clock: Any, log: list[tuple[int, str]]
    ) -> None:
        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await more_calls(sandbox, 6)
                assert payloads == []

        run(scenario())
        there = self.executed(sandbox, BEFORE, DAY)
        assert store.values["campaigns"][CAMPAIGNS_KEY] == {
            "fired": {
                day.isoformat(): [there["CampaignID"] for there in self.executed(sandbox, day)] for day in (BEFORE, DAY)
            }
        }
        text = f"{len(there)} campaigns of 2024-11-19 and 2024-11-20 are there; later ones are fired"
        assert log[0] == (logging.INFO, text)
        assert {call.query["Date"] for call in sandbox.calls} == {"2024-11-19", "2024-11-20"}

    def test_each_new_campaign_is_fired_once(self, sandbox: OptimoveSandbox, store: Store, clock: Any) -> None:
        # The day's campaigns are not executed yet.
        sandbox.today = BEFORE

        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await more_calls(sandbox)
                assert payloads == []
                sandbox.today = DAY
                await until(lambda: len(payloads) >= len(self.executed(sandbox, DAY)))
                await more_calls(sandbox)
                assert payloads == self.executed(sandbox, DAY)
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await more_calls(sandbox)
                assert payloads == []

        run(scenario())

    def test_an_event_reads_them(self, sandbox: OptimoveSandbox) -> None:
        (payload, *_) = self.executed(sandbox, DAY)
        assert OptimoveEvent.from_payload(payload | {"repeated": True}).campaign_id == payload["CampaignID"]

    def test_the_days_go_on(self, sandbox: OptimoveSandbox, store: Store, clock: Any) -> None:
        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await more_calls(sandbox)
                clock(NOON + timedelta(days=1))
                sandbox.today = NEXT
                await until(lambda: len(payloads) >= len(self.executed(sandbox, NEXT)))
                assert payloads == self.executed(sandbox, NEXT)

        run(scenario())
        assert set(store.values["campaigns"][CAMPAIGNS_KEY]["fired"]) == {"2024-11-19", "2024-11-20", "2024-11-21"}

    def test_a_day_without_campaigns_is_kept_as_looked_at(
        self, sandbox: OptimoveSandbox, store: Store, clock: Any
    ) -> None:
        sandbox.today = BEFORE

        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))):
                await more_calls(sandbox)
                for number in (1, 2):
                    clock(NOON + timedelta(days=number))
                    await more_calls(sandbox, 6)

                def looked_at() -> Any:
                    return set(store.values["campaigns"][CAMPAIGNS_KEY]["fired"])

                await until(lambda: looked_at() == {"2024-11-19", "2024-11-20", "2024-11-21"})

        run(scenario())

    @pytest.mark.parametrize(("away", "days"), [(1, 2), (4, 5), (30, known.KEPT_DAYS + 1)])
    def test_what_came_while_nobody_watched_is_caught_up_with(
        self, sandbox: OptimoveSandbox, store: Store, clock: Any, away: int, days: int
    ) -> None:
        there = [campaign["CampaignID"] for campaign in self.executed(sandbox, DAY)]
        store.values["campaigns"] = {CAMPAIGNS_KEY: {"fired": {"2024-11-20": there}}}
        today = DAY + timedelta(days=away)
        clock(NOON + timedelta(days=away))
        sandbox.today = today
        looked_at = [today - timedelta(days=number) for number in reversed(range(days))]
        expected = [c for c in self.executed(sandbox, *looked_at) if c["CampaignID"] not in there]

        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await until(lambda: len(payloads) >= len(expected))
                assert payloads == expected

        run(scenario())
        assert [call.query["Date"] for call in sandbox.calls[:days]] == list(map(str, looked_at))

    def test_one_that_dies_amid_a_burst_goes_on_where_it_was(
        self, sandbox: OptimoveSandbox, store: Store, clock: Any
    ) -> None:
        store.values["campaigns"] = {CAMPAIGNS_KEY: {"fired": {"2024-11-18": []}}}
        expected = self.executed(sandbox, BEFORE - timedelta(days=1), BEFORE, DAY)
        everything: list[Any] = []

        async def scenario() -> None:
            for number in (3, 4, 2):
                async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                    while len(payloads) < number:
                        await asyncio.sleep(0.001)
                everything.extend(payloads)
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await until(lambda: expected[-1] in payloads)
                await more_calls(sandbox, 6)
            everything.extend(payloads)

        run(scenario())
        again = [event["CampaignID"] for event in everything if "repeated" in event]
        assert len(again) == len(set(again)) <= 3
        first = [event["CampaignID"] for event in everything if "repeated" not in event]
        assert len(first) == len(set(first))
        assert sorted({*first, *again}) == sorted(event["CampaignID"] for event in expected)

    def test_lead_times_and_other_spellings(self, sandbox: OptimoveSandbox, store: Store, clock: Any) -> None:
        store.values["campaigns"] = {CAMPAIGNS_KEY: {"fired": {"2024-11-20": [1]}}}
        rows = [
            {"CampaignID": 1, "Status": "Successful"},
            {"CampaignID": 2, "Status": "Not Run", "LeadTime": 2},
            {"CampaignID": 3, "Status": "failed"},
            {"campaignid": "4", "status": "Partially Run"},
            {"CampaignID": 5},
        ]
        sandbox.fail("GetExecutedCampaignDetails", body=json.dumps(rows), times=None)

        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))) as payloads:
                await until(lambda: len(payloads) >= 2)
                await more_calls(sandbox)
                assert payloads == [{"CampaignID": number, "Date": "2024-11-20"} for number in (4, 5)]

        run(scenario())

    def test_the_days_are_those_of_the_connections_zone(
        self, sandbox: OptimoveSandbox, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        define(monkeypatch, sandbox, extra={"timezone": "Pacific/Auckland"})

        async def scenario() -> None:
            async with fired_by(campaign_watcher()):
                await more_calls(sandbox)

        run(scenario())
        assert {call.query["Date"] for call in sandbox.calls} == {"2024-11-20", "2024-11-21"}

    def test_a_row_without_a_number_is_logged_and_waited_out(
        self, sandbox: OptimoveSandbox, store: Store, clock: Any, log: list[tuple[int, str]]
    ) -> None:
        sandbox.fail("GetExecutedCampaignDetails", body='[{"CampaignID": null}]', times=2)

        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("campaigns"))):
                await until(lambda: store.values)

        run(scenario())
        assert any("CampaignID: None" in text for level, text in log if level == logging.WARNING)

    def test_old_campaigns_are_forgotten(self) -> None:
        days = {DAY - timedelta(days=number): frozenset({number}) for number in range(20)}
        remembered = known.KnownCampaigns(days).looked_at([NEXT])
        assert min(remembered.by_day) == NEXT - timedelta(days=7)
        assert known.KnownCampaigns.read(json.loads(json.dumps(remembered.written()))) == remembered

    def test_watchers_of_a_connection_share_their_calls(
        self, sandbox: OptimoveSandbox, store: Store, clock: Any
    ) -> None:
        async def scenario() -> None:
            async with fired_by(campaign_watcher(store.of("a"))), fired_by(campaign_watcher(store.of("b"))):
                await until(lambda: len(store.values) == 2)
                return

        run(scenario())
        assert [call.query["Date"] for call in sandbox.calls] == ["2024-11-19", "2024-11-20"]
