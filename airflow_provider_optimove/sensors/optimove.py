"""Waiting for Optimove."""

from __future__ import annotations

from datetime import date, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_optimove.exceptions import OptimoveError, OptimoveInputError
from airflow_provider_optimove.sensors.target_date import Run, as_date, as_zone
from airflow_provider_optimove.triggers.events import PERMANENT_ERRORS, date_of_success, permanent_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.hooks.optimove import OptimoveHook

_DEFERRAL_TIMEOUT_OF_AIRFLOW_2 = {"error": "Trigger/execution timeout"}


class OptimoveLastDataUpdateSensor(BaseSensorOperator):
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
    :param deferrable: wait in the triggerer, so that no worker is held. ``mode``, ``exponential_backoff`` and
        ``max_wait`` say nothing then.
    :param kwargs: the arguments of every sensor; ``poke_interval`` and ``timeout`` are in seconds.
    :raises OptimoveInputError: ``target_date`` or ``timezone`` is not valid.
    """

    template_fields: Sequence[str] = ("optimove_conn_id", "target_date", "timezone")

    def __init__(
        self,
        *,
        target_date: date | str | None = None,
        timezone: str | None = None,
        optimove_conn_id: str = "optimove_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_date = target_date
        self.timezone = timezone
        self.optimove_conn_id = optimove_conn_id
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the sensor's connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(optimove_conn_id=self.optimove_conn_id)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask Optimove once; when the data is not there yet, a deferrable sensor defers.

        Deferring here, not in ``execute``, leaves ``soft_fail``, ``never_fail`` and ``silent_fail`` to Airflow.

        :param context: the task's context.
        :returns: whether the data is there, and its date as ``YYYY-MM-DD``.
        """
        target, reason = self._target(context)
        found = self._last_data_update(f"data of {target} ({reason})")
        if found is not None and found >= target:
            return PokeReturnValue(is_done=True, xcom_value=found.isoformat())
        if self.deferrable:
            self._defer(target)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any = None, target_date: str | None = None) -> str:
        """End the wait on the worker, with what the trigger found.

        :param context: the task's context.
        :param event: what the trigger sent.
        :param target_date: the date that was waited for, ``YYYY-MM-DD``; None to work it out again.
        :returns: the data date that ended the wait, ``YYYY-MM-DD``.
        :raises OptimoveError: the error that ended the wait in the trigger, or the event is not one of the trigger's.
        """
        if (error := permanent_error(event)) is not None:
            raise _ending_the_task(error)
        target = as_date(target_date, "target_date") if target_date is not None else self._target(context)[0]
        found = date_of_success(event, target)
        self.log.info("GetLastDataUpdate: %s, waited for data of %s", found, target)
        return found.isoformat()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; a wait that took longer than ``timeout`` ends as it does in the other modes."""
        if next_method == "__fail__" and next_kwargs == _DEFERRAL_TIMEOUT_OF_AIRFLOW_2 and self._timeout_comes_first:
            # Airflow 2 raises TaskDeferralError here, which would be retried, each time for as long again.
            message = f"Sensor has timed out; its timeout is {self.timeout:g} seconds."
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(message)
            raise AirflowSensorTimeout(message)
        return super().resume_execution(next_method, next_kwargs, context)

    @property
    def _timeout_comes_first(self) -> bool:
        return self.execution_timeout is None or self.execution_timeout.total_seconds() >= self.timeout

    def _defer(self, target: date) -> NoReturn:
        from airflow_provider_optimove.triggers.optimove import OptimoveLastDataUpdateTrigger

        self.defer(
            trigger=OptimoveLastDataUpdateTrigger(
                optimove_conn_id=self.optimove_conn_id,
                target_date=target.isoformat(),
                poll_interval=self.poke_interval,
            ),
            method_name="execute_complete",
            kwargs={"target_date": target.isoformat()},
            timeout=timedelta(seconds=self.timeout),
        )

    def _last_data_update(self, awaited: str) -> date | None:
        try:
            found = self.hook.client.get_last_data_update()
        except PERMANENT_ERRORS:
            raise
        except OptimoveError as error:
            self.log.warning("Still waiting for %s: %s", awaited, error)
            return None
        self.log.info("GetLastDataUpdate: %s, waiting for %s", found, awaited)
        return found

    def _target(self, context: Context) -> tuple[date, str]:
        try:
            if self.target_date is not None:
                return as_date(self.target_date, "target_date"), "target_date"
            zone, name = self._zone(context)
            return Run.of(context).day_before(zone), f"the day before this run in {name}"
        except OptimoveInputError as error:
            raise _ending_the_task(error) from None

    def _zone(self, context: Context) -> tuple[tzinfo, str]:
        if self.timezone is not None:
            zone = as_zone(self.timezone, "timezone")
            return zone, zone.key
        if self.hook.timezone:
            zone = as_zone(self.hook.timezone, f"timezone of connection {self.optimove_conn_id!r}")
            return zone, zone.key
        of_dag: tzinfo = context["dag"].timezone
        return of_dag, str(getattr(of_dag, "name", of_dag))


def _ending_the_task(error: OptimoveError) -> OptimoveError:
    from airflow_provider_optimove.hooks.task_errors import ending_the_task

    return ending_the_task(error)
