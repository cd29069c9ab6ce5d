"""What the operators of all writes share: what was written is remembered until the task has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class RememberedWriteOperator(BaseOperator):
    """Base of the operators whose retries go on where an earlier try ended."""

    ui_color = "#e3f2fd"

    def execute(self, context: Context) -> dict[str, Any]:
        """Check what is to be written, and write what earlier tries did not."""
        from airflow_provider_optimove.hooks.asset_events import add_to_asset_events
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            result, finish = self.write(context)
            add_to_asset_events(context, self.outlets, result)
            # The last that is done: whatever fails before, a retry finds that all is written.
            finish()
        return result

    def write(self, context: Context) -> tuple[dict[str, Any], Callable[[], None]]:
        """Write; returns what the task returns, and what notes that all is done."""
        raise NotImplementedError
