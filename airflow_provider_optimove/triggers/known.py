"""What a watcher has fired already, as it is kept over restarts: plain JSON there. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Generic, Protocol, Self, TypeVar

K = TypeVar("K", bound="Known")
Payload = dict[str, Any]

KEPT_DAYS = 7
"""Days before the newest one whose campaigns are remembered, and are caught up with when nobody watched."""


class Known(Protocol):
    """What was fired, or was there before a watcher began. It only grows."""

    @classmethod
    def read(cls, kept: Any) -> Self:
        """The same from what :meth:`written` gave.

        :raises ValueError: it is something else; also a KeyError, a TypeError or an AttributeError.
        """

    def written(self) -> Any:
        """Plain JSON."""

    def joined(self, other: Self) -> Self:
        """What either of them knows."""

    def holds(self, payload: Payload) -> bool:
        """Whether an event is no news."""

    def after(self, payload: Payload) -> Self:
        """The same when that event was fired, too."""


@dataclass(frozen=True)
class KnownDate:
    """All data dates up to one of them."""

    newest: date

    @classmethod
    def read(cls, kept: Any) -> Self:
        """From ``YYYY-MM-DD``."""
        return cls(date.fromisoformat(kept))

    def written(self) -> str:
        """As ``YYYY-MM-DD``."""
        return self.newest.isoformat()

    def joined(self, other: Self) -> Self:
        """The later date."""
        return max(self, other, key=lambda known: known.newest)

    def holds(self, payload: Payload) -> bool:
        """Whether the event's date is not after the newest one."""
        return date.fromisoformat(payload["date"]) <= self.newest

    def after(self, payload: Payload) -> Self:
        """Up to the event's date."""
        return self.joined(type(self).read(payload["date"]))


@dataclass(frozen=True)
class KnownCampaigns:
    """Campaigns by the day that they were found under, of the last days; a day without any was looked at, too."""

    by_day: Mapping[date, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, kept: Any) -> Self:
        """From lists of numbers by ``YYYY-MM-DD``."""
        return cls({date.fromisoformat(day): frozenset(map(int, campaigns)) for day, campaigns in kept.items()})

    def written(self) -> dict[str, list[int]]:
        """As lists of numbers by ``YYYY-MM-DD``."""
        return {day.isoformat(): sorted(campaigns) for day, campaigns in sorted(self.by_day.items())}

    @property
    def newest(self) -> date:
        """The last day that was looked at."""
        return max(self.by_day, default=date.min)

    @property
    def campaigns(self) -> frozenset[int]:
        """The campaigns of all days."""
        return frozenset().union(*self.by_day.values())

    def joined(self, other: Self) -> Self:
        """The campaigns and days of both, without those that are too old."""
        days = self.by_day.keys() | other.by_day.keys()
        first = max(days, default=date.max) - timedelta(days=KEPT_DAYS)
        nothing: frozenset[int] = frozenset()
        return type(self)(
            {day: self.by_day.get(day, nothing) | other.by_day.get(day, nothing) for day in days if day >= first}
        )

    def holds(self, payload: Payload) -> bool:
        """Whether the event's campaign was found on any day."""
        return payload["CampaignID"] in self.campaigns

    def after(self, payload: Payload) -> Self:
        """With the event's campaign."""
        return self.joined(type(self)({date.fromisoformat(payload["Date"]): frozenset({payload["CampaignID"]})}))

    def looked_at(self, days: Iterable[date]) -> Self:
        """With these days."""
        return self.joined(type(self)(dict.fromkeys(days, frozenset())))


@dataclass(frozen=True)
class State(Generic[K]):
    """What is kept of a watcher.

    :param known: None: nothing was kept yet.
    :param firing: the event that is being fired: Airflow may or may not have written it down.
    """

    known: K | None = None
    firing: Payload | None = None

    @classmethod
    def read(cls, kind: type[K], kept: Any) -> State[K]:
        """The same from what :meth:`written` gave.

        :raises ValueError: it is something else; also a KeyError, a TypeError or an AttributeError.
        """
        known, firing = kind.read(kept["fired"]), kept.get("firing")
        if firing is not None:
            known.after(firing)
        return cls(known, firing)

    def written(self) -> dict[str, Any]:
        """Plain JSON."""
        fired = None if self.known is None else self.known.written()
        return {"fired": fired} if self.firing is None else {"fired": fired, "firing": self.firing}

    def joined(self, other: State[K]) -> State[K]:
        """What either of them knows. An event that one of them knows as fired was fired for all of its assets."""
        known = self.known or other.known
        if self.known is not None and other.known is not None:
            known = self.known.joined(other.known)
        firing = next((f for f in (other.firing, self.firing) if f and not (known and known.holds(f))), None)
        return State(known, firing)
