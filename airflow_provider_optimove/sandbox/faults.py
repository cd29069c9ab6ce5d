"""What goes wrong on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with the calls of a function or operation.

    :param function: its name in any letter case; None for all of them, but Optimove's Login.
    :param status: HTTP status instead of the answer's.
    :param reason: reason phrase instead of the status's usual one.
    :param body: body instead of the answer's, sent as it stands; also in pieces.
    :param content_type: of that body.
    :param headers: additional headers, e.g. ``Location`` or ``Retry-After``.
    :param delay: seconds to wait before anything else happens.
    :param drop: close the connection without a reply, ``before`` or ``after`` the call took effect.
    :param truncate: send only half of the body, then close the connection.
    :param expired_token: expire the token that comes with the call; Optimove only.
    :param takes_effect: whether a call answered with ``status`` or ``body`` is carried out all the same.
    :param times: how many calls it concerns; None for all.
    :param after: how many calls pass before the first one.
    """

    function: str | None = None
    status: int | None = None
    reason: str | None = None
    body: str | bytes | Iterable[bytes] | None = None
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    truncate: bool = False
    expired_token: bool = False
    takes_effect: bool = False
    times: int | None = 1
    after: int = 0

    @property
    def replaces_answer(self) -> bool:
        """Whether the call is not carried out."""
        return (self.status is not None or self.body is not None) and not self.takes_effect

    def concerns(self, function: str) -> bool:
        if self.function is None:
            return function != "Login"
        return self.function.lower() == function.lower()


class Faults:
    """The faults to come, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[list[int]] = []
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)
            self._seen.append([0])

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._seen.clear()

    def next_for(self, function: str) -> Fault | None:
        """The fault of a call that has just arrived."""
        with self._lock:
            for fault, seen in zip(self._faults, self._seen, strict=True):
                if not fault.concerns(function):
                    continue
                calls = seen[0]
                if fault.times is not None and calls >= fault.after + fault.times:
                    continue
                seen[0] += 1
                if calls >= fault.after:
                    return fault
            return None

    @property
    def pending(self) -> int:
        """How many faults have not struck as often as they are to; those for all calls do not count."""
        with self._lock:
            return sum(
                fault.times is not None and seen[0] < fault.after + fault.times
                for fault, seen in zip(self._faults, self._seen, strict=True)
            )
