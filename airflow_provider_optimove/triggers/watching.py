"""Watching: it never ends, and what was fired is kept in the asset's state, so that a restart fires nothing twice."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Generic
from weakref import WeakValueDictionary

from airflow_provider_optimove.exceptions import OptimoveError
from airflow_provider_optimove.sensors.target_date import as_zone
from airflow_provider_optimove.sensors.waits import DataDateWait
from airflow_provider_optimove.triggers.executed_campaigns import NewCampaignsWait
from airflow_provider_optimove.triggers.known import KEPT_DAYS, K, KnownCampaigns, KnownDate, State
from airflow_provider_optimove.triggers.shared_poll import end_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_optimove.sensors.waits import Done, Wait
    from airflow_provider_optimove.triggers.known import Payload

log = logging.getLogger(__name__)

PAUSE_AFTER_AN_ERROR = 900.0
"""Seconds until the next look after an error that asking again does not change; or the interval, if that is longer."""

PAUSE_WITHOUT_STATE = 60.0
"""Seconds until the next try where what was fired cannot be read."""

EVENTS_APART = 5.0
"""Seconds from an event of a watcher to its next: of events that come in a burst, Airflow loses the last ones. By then
it has written the event down, too: a triggerer does so about once a second."""

DAY = timedelta(days=1)
FIRST_ZONE = timezone(timedelta(hours=14))
"""Where days begin first."""


class StateUnknownError(Exception):
    """What was fired cannot be read, so nothing can be called new."""


class Watcher(ABC, Generic[K]):
    """Tells everything new, for ever.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param interval: the most seconds from the end of one call to the start of the next.
    :param store: the states of the watched assets (Airflow 3.3); None where there are none.
    """

    kind: ClassVar[type[Any]]
    """How what was fired is kept."""
    name: ClassVar[str]
    """What that is called in the state of an asset, with the connection's id behind it."""

    def __init__(self, optimove_conn_id: str, interval: float, store: Any) -> None:
        self.optimove_conn_id = optimove_conn_id
        self.interval = interval
        self._memory = Memory[K](self.kind, f"{self.name}/{optimove_conn_id}", store)

    @abstractmethod
    async def _look(self, known: K | None) -> tuple[K, list[Payload]]:
        """Wait for news.

        :param known: what is no news; None at the very first look, when all that is there is none.
        :returns: what is known when the news was fired, and the news.
        """

    async def payloads(self) -> AsyncIterator[Payload]:
        """What to fire. It goes on after every error: Airflow would start a watcher that ends again at once."""
        while True:
            pause = self.interval
            try:
                seen = await self._memory.recall()
                if seen.known is not None and seen.firing is not None:
                    known, news = seen.known, [seen.firing]
                else:
                    known, news = await self._look(seen.known)
                async with self._memory.turn():
                    # Others may have begun meanwhile, or have taken this one for dead, and have fired the same.
                    state = await self._memory.recall()
                    if seen.known is None and state.known is not None:
                        continue
                    for payload in news:
                        before = state.known or known
                        if before.holds(payload):
                            continue
                        await self._memory.keep(State(before, payload))
                        yield payload | {"repeated": True} if payload == state.firing else payload
                        await asyncio.sleep(EVENTS_APART)
                        # The answer comes from the process that writes events down, after what it was sent before.
                        state = await self._memory.recall()
                        await self._memory.keep(State(before.after(payload)))
                    await self._memory.keep(State(known))
            except StateUnknownError as error:
                pause = PAUSE_WITHOUT_STATE
                log.error("%s; the next try is in %d seconds", error, pause)
            except Exception as error:
                pause = self.pause_after_an_error
                expected = isinstance(error, OptimoveError)
                log.error("%s; the next look is in %d seconds", error, pause, exc_info=not expected)
            await asyncio.sleep(pause)

    @property
    def pause_after_an_error(self) -> float:
        """Seconds."""
        return max(PAUSE_AFTER_AN_ERROR, self.interval)

    async def _end_of(self, wait: Wait) -> Done:
        return await end_of(wait, optimove_conn_id=self.optimove_conn_id, interval=self.interval, of_task=False)


class DataDates(Watcher[KnownDate]):
    """Tells each new data date; the newest one when several have come meanwhile."""

    kind = KnownDate
    name = "optimove_data_date"

    async def _look(self, known: KnownDate | None) -> tuple[KnownDate, list[Payload]]:
        done = await self._end_of(DataDateWait(date.min if known is None else known.newest + DAY))
        found = KnownDate.read(done.value)
        if found.newest > datetime.now(FIRST_ZONE).date():
            log.warning("The newest data is of %s, a day to come: no earlier date is fired after it", found.newest)
        if known is None:
            log.info("The newest data is of %s; later dates are fired", found.newest)
            return found, []
        return found, [{"date": done.value}]


class ExecutedCampaigns(Watcher[KnownCampaigns]):
    """Tells each campaign that was executed today or yesterday, or on a day on which nobody watched."""

    kind = KnownCampaigns
    name = "optimove_executed_campaigns"

    def __init__(self, optimove_conn_id: str, interval: float, store: Any) -> None:
        super().__init__(optimove_conn_id, interval, store)
        self._zone: tzinfo = UTC

    async def _look(self, known: KnownCampaigns | None) -> tuple[KnownCampaigns, list[Payload]]:
        await self._read_zone()
        today = datetime.now(self._zone).date()
        first = today - DAY
        if known is not None:
            first = max(min(first, known.newest), today - timedelta(days=KEPT_DAYS))
        days = tuple(first + number * DAY for number in range((today - first).days + 1))
        done = await self._end_of(NewCampaignsWait(days, None if known is None else known.campaigns, self._zone))
        news: list[Payload] = done.value
        if known is not None:
            return known.looked_at(days), news
        log.info("%d campaigns of %s and %s are there; later ones are fired", len(news), *days)
        return reduce(KnownCampaigns.after, news, KnownCampaigns().looked_at(days)), []

    async def _read_zone(self) -> None:
        from airflow.providers.common.compat.connection import get_async_connection
        from airflow.providers.common.compat.sdk import AirflowNotFoundException
        from asgiref.sync import sync_to_async

        try:
            connection = await get_async_connection(self.optimove_conn_id)
        except AirflowNotFoundException:
            # The poll needs it, too, and says so.
            return
        # As in shared_poll: reading the extra masks its secrets.
        extra = await sync_to_async(lambda: connection.extra_dejson)()
        name = extra.get("timezone") if isinstance(extra, dict) else None
        self._zone = as_zone(name, f"timezone of connection {self.optimove_conn_id!r}") if name else UTC


class Memory(Generic[K]):
    """What was fired: in the states of the watched assets (Airflow 3.3), and here where that fails.

    Watchers with equal arguments are one trigger in Airflow, also on several assets, and so have one memory.

    :param kind: how it is kept.
    :param key: its name in the states.
    :param store: the states that Airflow gives to the trigger; None where it gives none.
    """

    def __init__(self, kind: type[K], key: str, store: Any) -> None:
        self._kind = kind
        self._key = key
        self._state: State[K] = State()
        self._assets: list[Any] = []
        if store is not None:
            try:
                # Airflow's own way to the state of each asset needs the assets, which it does not tell.
                self._assets = [*store._by_name.values(), *store._by_uri.values()]
            except AttributeError:
                log.warning("This Airflow keeps the states of assets in another way: only one asset can be watched")
                self._assets = [store]

    def turn(self) -> asyncio.Lock:
        """Held by one of the watchers of these assets in this event loop while it fires."""
        key = (asyncio.get_running_loop(), self._key, frozenset(self._assets or [self]))
        return _locks.setdefault(key, asyncio.Lock())

    async def recall(self) -> State[K]:
        """What was fired, by whomever.

        :raises StateUnknownError: nothing is known, for the states cannot be read; or one is not what was kept.
        """
        failures = []
        states = [self._state]
        for asset in self._assets:
            try:
                kept = await asset.aget(self._key)
            except Exception as error:
                failures.append(f"{asset}: {error}")
                continue
            try:
                if kept is not None:
                    states.append(State.read(self._kind, kept))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise StateUnknownError(f"{self._key} in {asset} is not what was kept there: {error!r}") from None
        self._state = reduce(State.joined, states)
        if failures:
            problem = f"what was fired cannot be read: {'; '.join(failures)}"
            # Without anything known, what came while nobody watched would count as known.
            if self._state.known is None:
                raise StateUnknownError(problem)
            log.warning("Going on with what is known: %s", problem)
        return self._state

    async def keep(self, state: State[K]) -> None:
        """Keep what was fired, beside what is known already, and what is being fired."""
        self._state = State(self._state.joined(state).known, state.firing)
        written = self._state.written()
        for asset in self._assets:
            try:
                await asset.aset(self._key, written)
            except Exception as error:
                log.warning("What was fired is not kept over a restart: %s: %s", asset, error)


_locks: WeakValueDictionary[tuple[object, ...], asyncio.Lock] = WeakValueDictionary()
