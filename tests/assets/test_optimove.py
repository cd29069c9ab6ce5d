"""What a DAG that an event starts has as its schedule."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_2_PLUS,
    AIRFLOW_V_3_3_PLUS,
)

from airflow_provider_optimove.assets import optimove
from airflow_provider_optimove.assets.events import OptimoveEvent
from airflow_provider_optimove.assets.optimove import optimove_asset, optimove_event
from airflow_provider_optimove.exceptions import OptimoveInputError


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="there are events here")
@pytest.mark.parametrize("make", [optimove_asset, optimove_event])
def test_airflow_2_has_none(make: Any) -> None:
    with pytest.raises(OptimoveInputError, match="on Airflow 3 only"):
        make("campaign_executed")


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has none")
def test_the_asset_of_an_event() -> None:
    asset: Any = optimove_asset("campaign_executed")
    assert asset.name == "optimove_event/optimove_default/campaign_executed"
    assert asset.uri == "optimove://event/optimove_default/campaign_executed"
    assert asset == optimove_asset(13) == optimove_asset("13")
    assert asset != optimove_asset(13, "other")
    with pytest.raises(OptimoveInputError, match="no event"):
        optimove_asset("campaign_forgotten")


@pytest.mark.skipif(not AIRFLOW_V_3_2_PLUS, reason="there are no partitioned assets before")
@pytest.mark.parametrize("conn_id", ["optimove_default", "a.b-c:d", "with/slash"])
def test_a_schedule_survives_serialization(conn_id: str) -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("on_event", schedule=optimove_event("campaign_executed", conn_id)) as dag:
        pass
    timetable: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    assert type(timetable).__name__ == "PartitionedAssetTimetable"
    ((key, _),) = timetable.asset_condition.iter_assets()
    asset: Any = optimove_asset(13, conn_id)
    assert (key.name, key.uri) == (asset.name, asset.uri)
    assert timetable.get_partition_mapper(name=key.name).to_downstream("some/key") == "some/key"


@pytest.mark.skipif(not AIRFLOW_V_3_2_PLUS, reason="there are no partitioned assets before")
@pytest.mark.parametrize("event_type", [11, "campaign_triggered", 13])
def test_events_of_customers_are_collected_where_that_is_safe(event_type: int | str) -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("on_event", schedule=optimove_event(event_type)) as dag:
        pass
    timetable: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    mapper = timetable.get_partition_mapper(name=optimove_asset(event_type).name)
    collects = AIRFLOW_V_3_3_PLUS and event_type != 13
    assert mapper.to_downstream("some/key") == ("collected" if collects else "some/key")


def test_the_event_is_at_hand() -> None:
    assert optimove.OptimoveEvent is OptimoveEvent
    assert optimove.EVENT_NAMES[13] == "campaign_executed"


def test_dag_files_pay_for_little() -> None:
    program = (
        "import sys, airflow.providers.common.compat.sdk as sdk\n"
        "from airflow.providers.common.compat import version_compat\n"
        "sdk.Asset\n"
        "before = set(sys.modules)\n"
        "import airflow_provider_optimove.assets.optimove\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = ran.stdout.splitlines()[-1].split()
    assert "airflow_provider_optimove.assets.events" in loaded
    heavy = ("requests", "urllib3", "msgspec", "sqlalchemy", "starlette", "airflow_provider_optimove.hooks")
    assert not [name for name in loaded if name.startswith(heavy)]
