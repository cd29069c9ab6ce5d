"""What the tests of triggers share: an event loop with an end, and what was logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Lines = list[tuple[int, str]]


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    """The end of a scenario, in an event loop of its own."""
    return asyncio.run(asyncio.wait_for(scenario, 30))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something."""
    while not condition():
        await asyncio.sleep(0.002)


@pytest.fixture
def record_log(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lines]:
    """Takes modules or classes that have a ``log``; what they log from then on, from a level on, as level and text."""

    def record(*owners: object, level: int = logging.DEBUG) -> Lines:
        lines: Lines = []

        class Recorder(logging.Logger):
            def handle(self, record: logging.LogRecord) -> None:
                lines.append((record.levelno, record.getMessage()))

        for owner in owners:
            monkeypatch.setattr(owner, "log", Recorder("recorder", level))
        return lines

    return record
