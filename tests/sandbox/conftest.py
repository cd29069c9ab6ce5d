from __future__ import annotations

import datetime
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.sandbox import OptimoveSandbox

TODAY = datetime.date(2026, 11, 20)


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text) if self.text else None


class Caller:
    """Calls a sandbox over real HTTP with nothing but the standard library."""

    def __init__(self, sandbox: OptimoveSandbox) -> None:
        self.sandbox = sandbox
        self.headers: dict[str, str] = {"X-API-KEY": sandbox.api_key}
        self.connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)

    def send(self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        content = None if body is None else json.dumps(body)
        self.connection.request(verb, path, content, dict(self.headers if headers is None else headers))
        response = self.connection.getresponse()
        text = response.read().decode()
        return Answer(response.status, response.reason, dict(response.getheaders()), text)

    def __call__(self, function: str, body: Any = None, /, **query: Any) -> Answer:
        declared = catalogue()[function]
        text = {name.replace("_", "$", 1) if name.startswith("_") else name: value for name, value in query.items()}
        question = f"?{urlencode(text)}" if text else ""
        return self.send(declared.verb, f"/current/{declared.path}{question}", body)

    def login(self, user: str = "sandbox", password: str | None = None) -> Answer:
        body = {"UserName": user, "Password": password or self.sandbox.password}
        return self.send("POST", "/current/general/login", body, {})

    def use_token(self, token: str) -> None:
        self.headers = {"Authorization-Token": token}


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[OptimoveSandbox]:
    with OptimoveSandbox(today=TODAY, clock=clock) as running:
        yield running


@pytest.fixture
def caller_of() -> Iterator[Callable[[OptimoveSandbox], Caller]]:
    callers: list[Caller] = []

    def make(sandbox: OptimoveSandbox) -> Caller:
        callers.append(Caller(sandbox))
        return callers[-1]

    yield make
    for caller in callers:
        caller.connection.close()


@pytest.fixture
def call(sandbox: OptimoveSandbox, caller_of: Callable[[OptimoveSandbox], Caller]) -> Caller:
    return caller_of(sandbox)
