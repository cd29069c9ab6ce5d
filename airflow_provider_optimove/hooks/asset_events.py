"""What a task tells those who wait for its assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def add_to_asset_events(context: Context, outlets: Iterable[Any] | None, facts: Mapping[str, Any]) -> None:
    """Put facts into the extra of the events that a task's outlets will have.

    :param context: the context of the task's run.
    :param outlets: the task's outlets; what is no asset among them is left alone.
    :param facts: what is told, as plain JSON.
    """
    from airflow.providers.common.compat.sdk import Asset

    for outlet in outlets or ():
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(facts)
