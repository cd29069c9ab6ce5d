"""Optimove's events as assets: what a DAG that an event starts has as its schedule. Airflow 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_2_PLUS,
    AIRFLOW_V_3_3_PLUS,
)

from airflow_provider_optimove.assets.events import (
    COLLECTED,
    EVENT_NAMES,
    OF_A_CUSTOMER,
    OptimoveEvent,
    asset_of,
    event_type_of,
)
from airflow_provider_optimove.exceptions import OptimoveInputError

if TYPE_CHECKING:
    from airflow.sdk import PartitionedAssetTimetable

__all__ = ["EVENT_NAMES", "OptimoveEvent", "optimove_asset", "optimove_event"]


def optimove_asset(event_type: int | str, conn_id: str = "optimove_default") -> Asset:
    """The asset of an event type: what the event listener takes in is an event of it.

    :param event_type: its number, or its name in :data:`EVENT_NAMES`.
    :param conn_id: the connection that the listener was registered with.
    :raises OptimoveInputError: there is no such event, or this is Airflow 2.
    """
    if not AIRFLOW_V_3_0_PLUS:
        raise OptimoveInputError("Optimove's events start DAGs on Airflow 3 only")
    name, uri = asset_of(event_type_of(event_type), conn_id)
    return Asset(name=name, uri=uri)


def optimove_event(event_type: int | str, conn_id: str = "optimove_default") -> PartitionedAssetTimetable | list[Any]:
    """What a DAG that an event starts has as its ``schedule``.

    Each event starts a run of its own. Only events 11, of which there is one a customer, are collected from Airflow 3.3
    on: a run takes those that came since the last one was created, about a second's worth. Before Airflow 3.2, events
    that come close together share runs, and the last of a burst may be in none.

    :param event_type: its number, or its name in :data:`EVENT_NAMES`.
    :param conn_id: the connection that the listener was registered with.
    :raises OptimoveInputError: there is no such event, or this is Airflow 2.
    """
    asset = optimove_asset(event_type, conn_id)
    if not AIRFLOW_V_3_2_PLUS:
        return [asset]
    from airflow.sdk import PartitionedAssetTimetable

    # The scheduler of 3.2 takes no lock when it starts such a run, and events that come meanwhile would be in none.
    if AIRFLOW_V_3_3_PLUS and event_type_of(event_type) == OF_A_CUSTOMER:
        from airflow.sdk import FixedKeyMapper

        return PartitionedAssetTimetable(assets=asset, default_partition_mapper=FixedKeyMapper(COLLECTED))
    return PartitionedAssetTimetable(assets=asset)
