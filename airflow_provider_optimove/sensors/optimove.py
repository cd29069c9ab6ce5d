"""Waiting for Optimove."""

from __future__ import annotations

from datetime import date, tzinfo
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.sensors.target_date import Run, as_date, as_zone
from airflow_provider_optimove.sensors.waiting import OptimoveSensor
from airflow_provider_optimove.sensors.waits import DataDateWait, campaign_wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_optimove.sensors.waits import SensorWait


class OptimoveLastDataUpdateSensor(OptimoveSensor):
    """Waits until Optimove's data has reached a date.

    Calls GetLastDataUpdate every ``poke_interval`` seconds until the date it gives is ``target_date`` or later, and
    returns that date as ``YYYY-MM-DD``. Without ``target_date`` that is the day before the run: scheduled and backfill
    runs count from the end of their data interval, all others from the moment they could start (``dag_run.run_after``;
    on Airflow 2 the start of the run).

    A server that fails or cannot be reached is logged and waited for until ``timeout``, in every mode. A refused key,
    a missing permission or bad input ends the task at once, without a retry.

    :param target_date: the data date to wait for: a ``date``, a ``datetime`` (its own calendar date), ``YYYY-MM-DD``,
        or a template that gives one; None for the day before the run.
    :param timezone: name of the zone in which the run's date is taken where ``target_date`` is None. None: the zone of
        the connection (its extra ``timezone``), or else of the DAG.
    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param deferrable: wait in the triggerer, so that no worker is held, with one call for all that wait there on the
        connection. ``mode``, ``exponential_backoff`` and ``max_wait`` say nothing then.
    :param start_from_trigger: with ``deferrable``, begin in the triggerer too: a worker is held at the end only;
        for sensors that are neither mapped nor in a mapped task group and whose arguments are values or templates (not
        what another task returns), from Airflow 3.3 on; elsewhere without effect. ``timeout`` then counts anew in each
        try. Needs ``target_date`` or ``timezone``: the zone of the connection is known on a worker only.
    :param kwargs: the arguments of every sensor; ``poke_interval`` and ``timeout`` are in seconds.
    :raises OptimoveInputError: ``target_date`` or ``timezone`` is not valid.
    """

    template_fields: Sequence[str] = ("optimove_conn_id", "target_date", "timezone")
    wait_of = DataDateWait.of

    def __init__(
        self,
        *,
        target_date: date | str | None = None,
        timezone: str | None = None,
        optimove_conn_id: str = "optimove_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            optimove_conn_id=optimove_conn_id, deferrable=deferrable, start_from_trigger=start_from_trigger, **kwargs
        )
        self.target_date = target_date
        self.timezone = timezone
        if start_from_trigger and target_date is None and timezone is None:
            raise OptimoveInputError(
                "start_from_trigger: needs target_date or timezone; a worker alone knows the zone of the connection"
            )
        if self.start_from_trigger:
            # Text may be a template, which is rendered in the triggerer.
            plain = as_date(target_date, "target_date").isoformat() if isinstance(target_date, date) else target_date
            self._start_in_triggerer("OptimoveLastDataUpdateTrigger", target_date=plain, timezone=timezone)

    def _wait(self, context: Context) -> DataDateWait:
        if self.target_date is not None:
            return DataDateWait(as_date(self.target_date, "target_date"), "target_date")
        zone, name = self._zone(context)
        return DataDateWait(Run.of(context).day_before(zone), f"the day before this run in {name}")

    def _trigger(self, wait: SensorWait) -> BaseTrigger:
        from airflow_provider_optimove.triggers.optimove import OptimoveLastDataUpdateTrigger

        return OptimoveLastDataUpdateTrigger(
            optimove_conn_id=self.optimove_conn_id, poll_interval=self.poke_interval, **wait.arguments
        )

    def _zone(self, context: Context) -> tuple[tzinfo, str]:
        if self.timezone is not None:
            zone = as_zone(self.timezone, "timezone")
            return zone, zone.key
        if self.hook.timezone:
            zone = as_zone(self.hook.timezone, f"timezone of connection {self.optimove_conn_id!r}")
            return zone, zone.key
        of_dag: tzinfo = context["dag"].timezone
        return of_dag, str(getattr(of_dag, "name", of_dag))


class OptimoveCampaignSensor(OptimoveSensor):
    """Waits for a campaign.

    Without ``channel_id``: until GetCampaignDetails gives one of ``allowed_states``; the sensor returns the details as
    Optimove sent them. One of ``failed_states``, or an Error, fails the task at once, without a retry and with
    Optimove's words. An Error beside an allowed state other than Successful (Partially Run has one) is only logged. The
    wait goes on in any other state, and while Optimove does not know the campaign.

    With ``channel_id``: until the campaign has sends on that channel (GetExecutedCampaignChannelDetails) and none of
    them is scheduled for later; the sensor returns their rows (SendID, TemplateID, ScheduledTime) as Optimove sent
    them. The states say nothing then.

    A server that fails or cannot be reached is logged and waited for until ``timeout``, in every mode. A refused key,
    a missing permission or bad input ends the task at once, without a retry.

    :param campaign_id: the campaign: a number, or text of one, such as a template gives.
    :param channel_id: the channel, likewise; None for the whole campaign.
    :param allowed_states: the states that end the wait, in any letter case.
    :param failed_states: the states that fail the task, in any letter case.
    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param deferrable: wait in the triggerer, so that no worker is held, with one call for all that wait there for the
        same. ``mode``, ``exponential_backoff`` and ``max_wait`` say nothing then.
    :param start_from_trigger: with ``deferrable``, begin in the triggerer too: a worker is held at the end only;
        for sensors that are neither mapped nor in a mapped task group and whose arguments are values or templates (not
        what another task returns), from Airflow 3.3 on; elsewhere without effect. ``timeout`` then counts anew in each
        try.
    :param kwargs: the arguments of every sensor; ``poke_interval`` and ``timeout`` are in seconds.
    :raises OptimoveCampaignFailedError: the campaign failed.
    :raises OptimoveInputError: an argument is not valid.
    """

    template_fields: Sequence[str] = (
        "optimove_conn_id",
        "campaign_id",
        "channel_id",
        "allowed_states",
        "failed_states",
    )
    wait_of = campaign_wait

    def __init__(
        self,
        *,
        campaign_id: int | str,
        channel_id: int | str | None = None,
        allowed_states: Sequence[str] = ("Successful",),
        failed_states: Sequence[str] = ("Failed",),
        optimove_conn_id: str = "optimove_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            optimove_conn_id=optimove_conn_id, deferrable=deferrable, start_from_trigger=start_from_trigger, **kwargs
        )
        self.campaign_id = campaign_id
        self.channel_id = channel_id
        self.allowed_states = allowed_states
        self.failed_states = failed_states
        if self.start_from_trigger:
            self._start_in_triggerer(
                "OptimoveCampaignTrigger",
                campaign_id=campaign_id,
                channel_id=channel_id,
                allowed_states=allowed_states,
                failed_states=failed_states,
            )

    def _wait(self, context: Context) -> SensorWait:
        return campaign_wait(self.campaign_id, self.channel_id, self.allowed_states, self.failed_states)

    def _trigger(self, wait: SensorWait) -> BaseTrigger:
        from airflow_provider_optimove.triggers.optimove import OptimoveCampaignTrigger

        return OptimoveCampaignTrigger(
            optimove_conn_id=self.optimove_conn_id, poll_interval=self.poke_interval, **wait.arguments
        )
