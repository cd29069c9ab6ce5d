"""The progress of a write in Airflow's task state, which outlives retries and killed workers (Airflow 3.3 on)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

# airflow.sdk.NEVER_EXPIRE, which Airflow before 3.3 has not. A doubt does not become less by waiting.
NEVER_EXPIRE = datetime.timedelta.max
# Longer than Airflow waits before a retry.
WHILE_RETRIES_MAY_COME = datetime.timedelta(days=7)
FINISHED_BY = "finished_by_try"


class TaskJournal:
    """Keeps the progress of one task instance.

    :param store: ``context["task_state_store"]``.
    :param key: under what name it is there.
    :param tries: the numbers of the first try since the task was cleared last, and of the running one; None where that
        is not known.
    """

    def __init__(self, store: Any, key: str, tries: tuple[int, int] | None = None) -> None:
        self._store = store
        self._key = key
        self._tries = tries

    def load(self) -> Any:
        """What was saved last; None when nothing was, or when the task was cleared after it had finished."""
        kept = self._store.get(self._key)
        if not _is_finished(kept):
            return kept
        if self._tries is None or kept[FINISHED_BY] < self._tries[0]:
            return None
        # Should this retry fail, what was done still counts when the task is cleared.
        self.save(kept["state"])
        return kept["state"]

    def save(self, state: dict[str, Any]) -> None:
        """Keep this instead of what was saved before."""
        self._store.set(self._key, state, retention=NEVER_EXPIRE)

    def clear(self) -> None:
        """Forget everything."""
        self._store.delete(self._key)

    def finish(self) -> None:
        """Forget everything, but for retries: Airflow can still fail behind the task, and try again what is done."""
        state = self.load()
        if self._tries is None or state is None:
            self.clear()
        else:
            finished = {FINISHED_BY: self._tries[1], "state": state}
            self._store.set(self._key, finished, retention=WHILE_RETRIES_MAY_COME)

    def reopen(self) -> None:
        """The task has failed behind its end, and is tried no more: what is done counts also when it is cleared."""
        kept = self._store.get(self._key)
        if _is_finished(kept):
            self.save(kept["state"])


def journal_of(context: Context, key: str) -> TaskJournal | None:
    """The journal of the running task; None where Airflow has no task state.

    :param context: the context of the task's run.
    :param key: under what name the progress is in the task state.
    """
    store = context.get("task_state_store")
    return None if store is None else TaskJournal(store, key, _tries(context.get("ti")))


def is_retry(context: Context) -> bool:
    """Whether the running task has been tried before."""
    task_instance = context.get("ti")
    return task_instance is not None and task_instance.try_number > 1


def is_last_try(context: Context) -> bool:
    """Whether Airflow tries the running task no more when it fails."""
    task_instance: Any = context.get("ti")
    return task_instance is None or task_instance.try_number > task_instance.max_tries


def _is_finished(kept: Any) -> bool:
    return isinstance(kept, dict) and FINISHED_BY in kept


def _tries(task_instance: Any) -> tuple[int, int] | None:
    most, retries = (getattr(task_instance, name, None) for name in ("max_tries", "task"))
    retries = getattr(retries, "retries", None)
    if not isinstance(most, int) or not isinstance(retries, int):
        return None
    # Clearing allows the task its retries behind the tries that there were.
    return most - retries + 1, task_instance.try_number
