"""An event of Optimove's becomes an asset event, once, whoever delivers it how often."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.assets.manager import asset_manager
from airflow.models import asset as asset_models
from airflow.models.asset import (
    AssetEvent,
    AssetModel,
    DagScheduleAssetNameReference,
    DagScheduleAssetReference,
    DagScheduleAssetUriReference,
)
from airflow.models.dag import DagModel
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS, AIRFLOW_V_3_3_PLUS
from airflow.utils.session import create_session
from sqlalchemy import select, text, union, update
from sqlalchemy.exc import OperationalError

from airflow_provider_optimove.assets.events import COLLECTED, OF_A_CUSTOMER, OptimoveEvent, asset_of, key_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

RECORDED = "recorded"
KNOWN = "known already"
NOBODY = "no DAG listens"
ONLY_PAUSED = "no DAG listens, those that would are paused"

SAME_EVENT_WITHIN = timedelta(hours=12)
# They are many, and the search looks at all of that time.
SAME_CUSTOMERS_EVENT_WITHIN = timedelta(minutes=10)
PAUSE = 0.02


class TooLate(Exception):
    """The database did not do it in time, and nothing was recorded."""


def record(event_type: int, conn_id: str, event: OptimoveEvent, deadline: float) -> str:
    """Record an event, unless it is known; it is committed when this returns.

    :param event_type: which says, with the connection, what asset it is an event of.
    :param conn_id: the Airflow connection.
    :param event: the event.
    :param deadline: of ``time.monotonic()``.
    :returns: :data:`RECORDED`, :data:`KNOWN`, :data:`NOBODY` or :data:`ONLY_PAUSED`.
    :raises TooLate: the deadline passed.
    """
    name, uri = asset_of(event_type, conn_id)
    key = key_of(event)
    with create_session() as session:
        if session.get_bind().dialect.name == "postgresql":
            left = max(1, int((deadline - time.monotonic()) * 1000))
            session.execute(text(f"SET LOCAL statement_timeout = {left}"))
        asset = session.scalar(select(AssetModel).where(AssetModel.name == name, AssetModel.uri == uri))
        paused = [] if asset is None else _who_listens(session, asset)
        if asset is None or all(paused):
            # Sent again once a DAG listens, it is new.
            return ONLY_PAUSED if paused else NOBODY
        asset_id = asset.id
        _lock(session, asset_id, deadline)
        if _is_known(session, asset_id, key, event_type):
            return KNOWN
        if event_type == OF_A_CUSTOMER and AIRFLOW_V_3_3_PLUS:
            _hold_collecting_runs(session, asset_id)
        recorded = asset_manager.register_asset_change(
            asset=asset,
            extra={"event_type": event_type, "key": key, "payload": dict(event.payload)},
            partition_key=key,
            session=session,
        )
        if time.monotonic() > deadline:
            raise TooLate
        return NOBODY if recorded is None else RECORDED


def _who_listens(session: Session, asset: AssetModel) -> list[bool]:
    """Of each DAG that the asset starts, or that has it as an inlet of a task: whether it is paused."""
    references = [
        select(DagScheduleAssetReference.dag_id).where(DagScheduleAssetReference.asset_id == asset.id),
        select(DagScheduleAssetNameReference.dag_id).where(DagScheduleAssetNameReference.name == asset.name),
        select(DagScheduleAssetUriReference.dag_id).where(DagScheduleAssetUriReference.uri == asset.uri),
    ]
    # Airflow 3.0 does not write down inlets.
    if inlet := getattr(asset_models, "TaskInletAssetReference", None):
        references.append(select(inlet.dag_id).where(inlet.asset_id == asset.id))
    listening = select(DagModel.is_paused).where(DagModel.dag_id.in_(union(*references)), DagModel.is_stale.is_(False))
    return list(session.scalars(listening))


def _lock(session: Session, asset_id: int, deadline: float) -> None:
    """From here to the commit, one at a time of all API servers."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(AssetModel.id).where(AssetModel.id == asset_id).with_for_update(key_share=True))
        return
    # SQLite has no locks of rows: a write that changes nothing keeps other writers out.
    write = update(AssetModel).where(AssetModel.id == asset_id).values(updated_at=AssetModel.updated_at)
    while True:
        try:
            session.execute(write, execution_options={"synchronize_session": False})
        except OperationalError as error:
            session.rollback()
            if not getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise
            if time.monotonic() > deadline:
                raise TooLate from None
            time.sleep(PAUSE)
        else:
            return


def _is_known(session: Session, asset_id: int, key: str, event_type: int) -> bool:
    within = SAME_CUSTOMERS_EVENT_WITHIN if event_type == OF_A_CUSTOMER else SAME_EVENT_WITHIN
    # A column is compared many times as fast as something in JSON.
    its_key = AssetEvent.partition_key if AIRFLOW_V_3_2_PLUS else AssetEvent.extra["key"].as_string()
    found = select(AssetEvent.id).where(
        AssetEvent.asset_id == asset_id,
        AssetEvent.timestamp >= datetime.now(UTC) - within,
        its_key == key,
    )
    return session.scalar(found.limit(1)) is not None


def _hold_collecting_runs(session: Session, asset_id: int) -> None:
    """Wait until no scheduler is starting a run that collects: an event that came to it now would be in no run."""
    from airflow.models.asset import AssetPartitionDagRun

    dag_ids = select(DagScheduleAssetReference.dag_id).where(DagScheduleAssetReference.asset_id == asset_id)
    session.execute(
        select(AssetPartitionDagRun.id)
        .where(
            AssetPartitionDagRun.partition_key == COLLECTED,
            AssetPartitionDagRun.target_dag_id.in_(dag_ids),
            AssetPartitionDagRun.created_dag_run_id.is_(None),
        )
        .with_for_update()
    )
