"""Fixtures to test DAGs against an Optimove on localhost, and against the systems beside it.

In your ``conftest.py``::

    pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

In a test (``dag.test()`` needs Airflow's database: ``airflow db migrate``)::

    def test_my_dag(optimove_sandbox, netmera_sandbox):
        dag.test()
        assert optimove_sandbox.promotions == {"WB10": "Welcome back"}
        assert netmera_sandbox.pushes[0]["campaignId"] == 6577

For user name and password instead of the key, set ``AIRFLOW_CONN_OPTIMOVE_DEFAULT`` to
``optimove_sandbox.login_connection``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from airflow_provider_optimove.sandbox import NetmeraSandbox, OptimoveSandbox, SessionMSandbox, StickyStreetSandbox
from airflow_provider_optimove.sandbox.serving import StandIn

StandInT = TypeVar("StandInT", bound=StandIn[Any])


@pytest.fixture
def optimove_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[OptimoveSandbox]:
    """A running sandbox; for the length of the test it is Airflow's connection ``optimove_default``."""
    with _connected(OptimoveSandbox(), monkeypatch) as sandbox:
        yield sandbox


@pytest.fixture
def netmera_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[NetmeraSandbox]:
    """A running Netmera; for the length of the test it is Airflow's connection ``netmera_default``."""
    with _connected(NetmeraSandbox(), monkeypatch) as sandbox:
        yield sandbox


@pytest.fixture
def sessionm_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionMSandbox]:
    """A running SessionM; for the length of the test it is Airflow's connection ``sessionm_default``."""
    with _connected(SessionMSandbox(), monkeypatch) as sandbox:
        yield sandbox


@pytest.fixture
def sticky_street_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[StickyStreetSandbox]:
    """A running Sticky Street; for the length of the test it is Airflow's connection ``sticky_street_default``."""
    with _connected(StickyStreetSandbox(), monkeypatch) as sandbox:
        yield sandbox


@contextmanager
def _connected(stand_in: StandInT, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInT]:
    with stand_in:
        monkeypatch.setenv(f"AIRFLOW_CONN_{stand_in.connection_id.upper()}", stand_in.connection)
        yield stand_in
