from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_optimove.clients.http import HttpSettings
from airflow_provider_optimove.clients.sessionm.client import SessionMClient, SessionMSettings
from airflow_provider_optimove.sandbox.sessionm import SessionMSandbox

KEY = "fake/key+of=tests"
SECRET = "fake secret ü & tests"

Connect = Callable[..., SessionMClient]


@pytest.fixture
def sessionm() -> Iterator[SessionMSandbox]:
    with SessionMSandbox(customers=30, api_key=KEY, api_secret=SECRET) as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients of a server."""
    clients: list[SessionMClient] = []

    def make(url: str, *, api_key: str = KEY, api_secret: str = SECRET, **http: Any) -> SessionMClient:
        settings = HttpSettings(url, **{"read_timeout": 5.0, **http})
        clients.append(SessionMClient(SessionMSettings(settings, api_key=api_key, api_secret=api_secret)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(sessionm: SessionMSandbox, connect: Connect) -> SessionMClient:
    return connect(sessionm.url)
