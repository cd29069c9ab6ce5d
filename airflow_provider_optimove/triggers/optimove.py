"""Waiting for Optimove in a triggerer, where no worker is held."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.sensors.target_date import Run, as_zone
from airflow_provider_optimove.sensors.waits import DataDateWait, campaign_wait
from airflow_provider_optimove.triggers.events import PERMANENT_ERRORS, error_event, success_event
from airflow_provider_optimove.triggers.shared_poll import end_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.sensors.waits import SensorWait
    from airflow_provider_optimove.triggers.watching import DataDates, ExecutedCampaigns, Watcher


class _OptimoveTrigger(BaseTrigger):
    """Waits, and fires one event.

    All that ask the same on a connection share their calls. Errors that may pass are logged and ridden out until
    Airflow's own timeout ends the wait; errors that asking again does not change end it with an event that makes the
    task fail for good.
    """

    def __init__(self, optimove_conn_id: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.optimove_conn_id = optimove_conn_id
        self.poll_interval = poll_interval

    @abstractmethod
    def _wait(self) -> SensorWait: ...

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire ``{"status": "success", "value": …, "waited_for": …}``, or ``{"status": "error", …}``."""
        try:
            wait = self._wait()
            done = await end_of(wait, optimove_conn_id=self.optimove_conn_id, interval=self.poll_interval)
            event = success_event(done.value, wait.arguments)
        except PERMANENT_ERRORS as error:
            self.log.error("The wait ends: %s", error)
            event = error_event(error)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]


class OptimoveLastDataUpdateTrigger(_OptimoveTrigger):
    """Waits until Optimove's data has reached a date; see GetLastDataUpdate.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param target_date: the data date to wait for, ``YYYY-MM-DD``; None, where a task starts with this trigger, for the
        day before its run.
    :param poll_interval: the most seconds from the end of one call to the start of the next.
    :param timezone: name of the zone in which the run's date is taken where ``target_date`` is None.
    """

    def __init__(
        self,
        optimove_conn_id: str,
        target_date: str | None,
        poll_interval: float = 60.0,
        timezone: str | None = None,
    ) -> None:
        super().__init__(optimove_conn_id, poll_interval)
        self.target_date = target_date
        self.timezone = timezone
        self._started_by: Run | None = None

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Where a task starts with this trigger, Airflow gives its context here."""
        super().render_template_fields(context, jinja_env)
        self._started_by = Run.of(context)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments from which a triggerer builds this trigger again: plain JSON, no secrets."""
        return (
            "airflow_provider_optimove.triggers.optimove.OptimoveLastDataUpdateTrigger",
            {
                "optimove_conn_id": self.optimove_conn_id,
                "target_date": self.target_date,
                "poll_interval": self.poll_interval,
                "timezone": self.timezone,
            },
        )

    def _wait(self) -> DataDateWait:
        if self.target_date is None and self._started_by is not None:
            return DataDateWait(self._started_by.day_before(as_zone(self.timezone, "timezone")))
        return DataDateWait.of(self.target_date)


class OptimoveCampaignTrigger(_OptimoveTrigger):
    """Waits until a campaign is in one of the allowed states, or until it was sent on a channel.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param campaign_id: the campaign.
    :param channel_id: the channel; None: the whole campaign.
    :param allowed_states: end the wait for the whole campaign.
    :param failed_states: fail the wait for the whole campaign.
    :param poll_interval: the most seconds from the end of one call to the start of the next.
    """

    def __init__(
        self,
        optimove_conn_id: str,
        campaign_id: int,
        channel_id: int | None = None,
        allowed_states: Sequence[str] = ("Successful",),
        failed_states: Sequence[str] = ("Failed",),
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__(optimove_conn_id, poll_interval)
        self.campaign_id = campaign_id
        self.channel_id = channel_id
        self.allowed_states = allowed_states
        self.failed_states = failed_states

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments from which a triggerer builds this trigger again: plain JSON, no secrets."""
        return (
            "airflow_provider_optimove.triggers.optimove.OptimoveCampaignTrigger",
            {
                "optimove_conn_id": self.optimove_conn_id,
                "campaign_id": self.campaign_id,
                "channel_id": self.channel_id,
                "allowed_states": list(self.allowed_states),
                "failed_states": list(self.failed_states),
                "poll_interval": self.poll_interval,
            },
        )

    def _wait(self) -> SensorWait:
        return campaign_wait(self.campaign_id, self.channel_id, self.allowed_states, self.failed_states)


class _OptimoveEventTrigger(BaseEventTrigger):
    """Watches, and fires an event for everything new.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param poll_interval: the most seconds, or timedelta, from the end of one call to the start of the next.
    :raises OptimoveInputError: ``poll_interval`` is not above 0; or this is Airflow 2, which has no asset watchers.
    """

    def __init__(self, optimove_conn_id: str = "optimove_default", poll_interval: timedelta | float = 60.0) -> None:
        if not AIRFLOW_V_3_0_PLUS:
            raise OptimoveInputError(
                f"{type(self).__name__} needs Airflow 3; on Airflow 2, schedule the DAG by time and begin it with a"
                " deferrable OptimoveLastDataUpdateSensor"
            )
        super().__init__()  # type: ignore[no-untyped-call]
        seconds = poll_interval.total_seconds() if isinstance(poll_interval, timedelta) else poll_interval
        if not isinstance(seconds, int | float) or not 0 < seconds < inf:
            raise OptimoveInputError(f"poll_interval: {poll_interval!r} is not a number of seconds above 0")
        self.optimove_conn_id = optimove_conn_id
        self.poll_interval = float(seconds)

    @abstractmethod
    def _watcher(self, store: Any) -> Watcher[Any]: ...

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments from which a triggerer builds this trigger again: plain JSON, no secrets."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"optimove_conn_id": self.optimove_conn_id, "poll_interval": self.poll_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire the events, for ever."""
        # Airflow before 3.3 does not have the attribute.
        async for payload in self._watcher(getattr(self, "asset_state_store", None)).payloads():
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]


class OptimoveLastDataUpdateEventTrigger(_OptimoveEventTrigger):
    """Watches for new data; for ``AssetWatcher``, on Airflow 3.

    Fires ``{"date": "YYYY-MM-DD"}`` for each new date of GetLastDataUpdate; one event, with the newest date, when
    several have come meanwhile. The date that is there at the very first look counts as known. From Airflow 3.3 on,
    what was fired is kept in the asset's state, so a restart fires nothing twice and misses nothing; an event of
    which a triggerer that died did not know whether Airflow had it is fired again with ``"repeated": true``. Before
    3.3, what is there when a triggerer starts counts as known.

    Errors are logged and waited out: those that may pass for ``poll_interval``, others, such as a refused key, for a
    quarter of an hour.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param poll_interval: the most seconds, or timedelta, from the end of one call to the start of the next; the calls
        are shared with all that wait for data on the connection.
    :raises OptimoveInputError: ``poll_interval`` is not above 0; or this is Airflow 2, which has no asset watchers.
    """

    def _watcher(self, store: Any) -> DataDates:
        from airflow_provider_optimove.triggers.watching import DataDates

        return DataDates(self.optimove_conn_id, self.poll_interval, store)


class OptimoveExecutedCampaignsEventTrigger(_OptimoveEventTrigger):
    """Watches for executed campaigns; for ``AssetWatcher``, on Airflow 3.

    Fires ``{"CampaignID": 6577, "Date": "YYYY-MM-DD"}`` for each campaign that GetExecutedCampaignDetails newly gives
    for today or yesterday, or for days, up to a week back, on which nobody watched; ``OptimoveEvent`` reads it. Events
    are five seconds apart. Campaigns that are there at the very first look count as known. What else is said of
    :class:`OptimoveLastDataUpdateEventTrigger` holds here, too.

    :param optimove_conn_id: Airflow connection of type ``optimove``; the days are those of its ``timezone``, or of UTC.
    :param poll_interval: the most seconds, or timedelta, from the end of one look to the start of the next; a look is a
        call for each of the days.
    :raises OptimoveInputError: ``poll_interval`` is not above 0; or this is Airflow 2, which has no asset watchers.
    """

    def _watcher(self, store: Any) -> ExecutedCampaigns:
        from airflow_provider_optimove.triggers.watching import ExecutedCampaigns

        return ExecutedCampaigns(self.optimove_conn_id, self.poll_interval, store)
