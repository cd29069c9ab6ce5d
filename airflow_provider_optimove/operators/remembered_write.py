"""What the operators of all writes share: what was written is remembered until the task has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.operators.task_journal import TaskJournal


class RememberedWriteOperator(BaseOperator):
    """Base of the operators whose retries go on where an earlier try ended."""

    ui_color = "#e3f2fd"

    def execute(self, context: Context) -> dict[str, Any]:
        """Check what is to be written, and write what earlier tries did not."""
        from airflow_provider_optimove.hooks.asset_events import add_to_asset_events
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        self._journals: list[TaskJournal] = []
        with permanent_errors_end_the_task():
            result, finish = self.write(context)
            add_to_asset_events(context, self.outlets, result)
            self._outlive_failures()
            # The last that is done: whatever fails before, a retry finds that all is written.
            finish()
        return result

    def journal_of(self, context: Context, key: str) -> TaskJournal | None:
        """The journal of the running task; None where Airflow has no task state.

        :param context: the context of the task's run.
        :param key: under what name the progress is in the task state.
        """
        from airflow_provider_optimove.operators.task_journal import journal_of

        journal = journal_of(context, key)
        if journal is not None:
            self._journals.append(journal)
        return journal

    def _outlive_failures(self) -> None:
        """Have what is written count also where Airflow fails behind the task, and tries it no more."""
        journals = self._journals

        def reopen(context: Context) -> None:
            for journal in journals:
                journal.reopen()

        if journals:
            self.on_failure_callback = [*(self.on_failure_callback or ()), reopen]

    def write(self, context: Context) -> tuple[dict[str, Any], Callable[[], None]]:
        """Write; returns what the task returns, and what notes that all is done."""
        raise NotImplementedError
