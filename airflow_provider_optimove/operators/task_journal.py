"""The progress of a write in Airflow's task state, which outlives retries and killed workers (Airflow 3.3 on)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

# airflow.sdk.NEVER_EXPIRE, which Airflow before 3.3 has not. A doubt does not become less by waiting.
NEVER_EXPIRE = datetime.timedelta.max


class TaskJournal:
    """Keeps the progress of one task instance.

    :param store: ``context["task_state_store"]``.
    :param key: under what name it is there.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    def load(self) -> Any:
        """What was saved last; None when nothing was."""
        return self._store.get(self._key)

    def save(self, state: dict[str, Any]) -> None:
        """Keep this instead of what was saved before."""
        self._store.set(self._key, state, retention=NEVER_EXPIRE)

    def clear(self) -> None:
        """Forget everything."""
        self._store.delete(self._key)


def journal_of(context: Context, key: str) -> TaskJournal | None:
    """The journal of the running task; None where Airflow has no task state.

    :param context: the context of the task's run.
    :param key: under what name the progress is in the task state.
    """
    store = context.get("task_state_store")
    return None if store is None else TaskJournal(store, key)


def is_retry(context: Context) -> bool:
    """Whether the running task has been tried before."""
    task_instance = context.get("ti")
    return task_instance is not None and task_instance.try_number > 1
