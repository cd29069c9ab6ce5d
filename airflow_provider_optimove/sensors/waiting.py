"""What all sensors of Optimove's share: one look in a poke, deferring, and the end on the worker."""

from __future__ import annotations

import json
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_optimove.exceptions import OptimoveError
from airflow_provider_optimove.sensors.waits import LONGEST_CALL, Done
from airflow_provider_optimove.triggers.events import PERMANENT_ERRORS, permanent_error, success_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_optimove.hooks.optimove import OptimoveHook
    from airflow_provider_optimove.sensors.waits import SensorWait

STATE_KEY = "optimove_wait"

_DEFERRAL_TIMEOUT_OF_AIRFLOW_2 = {"error": "Trigger/execution timeout"}
# What is past for the triggerer's clock is past, also if the worker's is behind.
_AFTER_ALL = datetime.max.replace(tzinfo=UTC)


class OptimoveSensor(BaseSensorOperator):
    """Waits for an answer of Optimove's.

    A server that fails or cannot be reached is logged and waited for until ``timeout``, in every mode. What asking
    again does not change ends the task at once, without a retry.

    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :param deferrable: wait in the triggerer, so that no worker is held.
    :param start_from_trigger: begin there, too; needs ``deferrable``.
    :param kwargs: the arguments of every sensor; ``poke_interval`` and ``timeout`` are in seconds.
    """

    wait_of: ClassVar[Callable[..., SensorWait]]
    """Builds a wait from its :attr:`~Wait.arguments`."""

    def __init__(self, *, optimove_conn_id: str, deferrable: bool, start_from_trigger: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.optimove_conn_id = optimove_conn_id
        self.deferrable = deferrable
        # Of a mapped sensor Airflow reads these from the class, so it starts on a worker.
        self.start_from_trigger = start_from_trigger and deferrable and AIRFLOW_V_3_3_PLUS

    @abstractmethod
    def _wait(self, context: Context) -> SensorWait:
        """What this run of the task waits for."""

    @abstractmethod
    def _trigger(self, wait: SensorWait) -> BaseTrigger:
        """What waits for it in the triggerer."""

    def _start_in_triggerer(self, trigger: str, **arguments: Any) -> None:
        """Have Airflow begin with a trigger, whose arguments it renders there.

        What another task returns, or a mapped task group is given, is known on a worker only: the task begins there.

        :param trigger: name of a class in ``triggers.optimove``.
        :param arguments: what it gets beside the connection and the interval.
        """
        from airflow.triggers.base import StartTriggerArgs

        arguments = {"optimove_conn_id": self.optimove_conn_id, "poll_interval": self.poke_interval, **arguments}
        if self.get_closest_mapped_task_group() is not None or not _is_json(arguments):
            self.start_from_trigger = False
            return
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=f"airflow_provider_optimove.triggers.optimove.{trigger}",
            trigger_kwargs=arguments,
            next_method="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the sensor's connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(optimove_conn_id=self.optimove_conn_id, longest_call=LONGEST_CALL)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask Optimove once; a deferrable sensor defers instead, for all deferred ones to ask together.

        Deferring here, not in ``execute``, leaves ``soft_fail``, ``never_fail`` and ``silent_fail`` to Airflow.

        :param context: the task's context.
        :returns: whether the wait is over, and what the sensor returns.
        """
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            wait = self._wait(context)
            if self.deferrable:
                self._defer(context, wait)
            try:
                outcome = wait.judge(wait.question.ask(self.hook.client), datetime.now(UTC))
            except PERMANENT_ERRORS:
                raise
            except OptimoveError as error:
                self.log.warning("Still waiting for %s: %s", wait, error)
                return PokeReturnValue(is_done=False)
        if isinstance(outcome, Done):
            return PokeReturnValue(is_done=True, xcom_value=self._returned(wait, outcome))
        self.log.log(outcome.level, "%s, waiting for %s", outcome.reason, wait)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """End the wait on the worker, with what the trigger found.

        :param context: the task's context.
        :param event: what the trigger sent.
        :returns: what the sensor returns.
        :raises OptimoveError: the error that ended the wait in the trigger, or the event is not one of the trigger's.
        """
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            if (error := permanent_error(event)) is not None:
                raise error
        value, waited_for = success_in(event)
        try:
            wait = type(self).wait_of(**waited_for)
            outcome = wait.judge(wait.answer_in(value), _AFTER_ALL)
        except (OptimoveError, TypeError) as error:
            raise OptimoveError(f"the trigger's event does not end the wait for {waited_for}: {error}") from None
        if not isinstance(outcome, Done):
            raise OptimoveError(f"the trigger's event does not end the wait for {wait}: {outcome.reason}")
        return self._returned(wait, outcome)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; a wait that took longer than ``timeout`` ends as it does in the other modes."""
        if next_method == "__fail__" and next_kwargs == _DEFERRAL_TIMEOUT_OF_AIRFLOW_2 and self._timeout_comes_first:
            # Airflow 2 raises TaskDeferralError here, which would be retried, each time for as long again.
            message = f"Sensor has timed out; its timeout is {self.timeout:g} seconds."
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(message)
            raise AirflowSensorTimeout(message)
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except Exception as error:
            # Airflow 2 looks at soft_fail only, and no Airflow at errors that are not its own.
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise

    @property
    def _timeout_comes_first(self) -> bool:
        return self.execution_timeout is None or self.execution_timeout.total_seconds() >= self.timeout

    def _returned(self, wait: SensorWait, done: Done) -> Any:
        if done.remark:
            self.log.warning("%s", done.remark)
        self.log.info("The wait for %s is over", wait)
        return done.value

    def _defer(self, context: Context, wait: SensorWait) -> NoReturn:
        left = self._time_left(context)
        self.log.info("Deferred: waiting for %s", wait)
        self.defer(
            trigger=self._trigger(wait),
            method_name="execute_complete",
            timeout=left,
        )

    def _time_left(self, context: Context) -> timedelta:
        """Until ``timeout``, which counts from the first try where Airflow keeps a task's state over its retries."""
        timeout = timedelta(seconds=self.timeout)
        store = context.get("task_state_store")
        if store is None:
            return timeout
        now = datetime.now(UTC)
        # As Airflow counts it for reschedule mode: a task that is cleared begins anew.
        first_try = context["ti"].max_tries - (self.retries or 0) + 1
        state: Any = store.get(STATE_KEY)
        if not isinstance(state, dict) or state.get("first_try") != first_try:
            state = {"first_try": first_try, "since": now.isoformat()}
            store.set(STATE_KEY, state)
        left = datetime.fromisoformat(state["since"]) + timeout - now
        if left <= timedelta(0):
            raise AirflowSensorTimeout(f"Sensor has timed out; its timeout of {self.timeout:g} seconds is over.")
        return left


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
