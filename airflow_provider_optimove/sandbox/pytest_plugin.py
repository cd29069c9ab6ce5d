"""A fixture to test DAGs against an Optimove on localhost.

In your ``conftest.py``::

    pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

In a test (``dag.test()`` needs Airflow's database: ``airflow db migrate``)::

    def test_my_dag(optimove_sandbox):
        dag.test()
        assert optimove_sandbox.promotions == {"WB10": "Welcome back"}

For user name and password instead of the key, set ``AIRFLOW_CONN_OPTIMOVE_DEFAULT`` to
``optimove_sandbox.login_connection``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox


@pytest.fixture
def optimove_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[OptimoveSandbox]:
    """A running sandbox; for the length of the test it is Airflow's connection ``optimove_default``."""
    with OptimoveSandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", sandbox.connection)
        yield sandbox
