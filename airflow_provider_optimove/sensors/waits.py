"""What is waited for: the question that Optimove is asked, and what an answer means. No clock is read here."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.exceptions import (
    OptimoveBadRequestError,
    OptimoveCampaignFailedError,
    OptimoveInputError,
    OptimoveResponseError,
)
from airflow_provider_optimove.sensors.target_date import as_date

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.optimove.client import OptimoveClient

LONGEST_CALL = 60.0
"""Seconds that a call may take, and as long again where a server stops in the middle of its answer: the next call is as
good, and no timeout may wait long for one that hangs."""

SUCCESSFUL = "Successful"
# Where on earth a day begins first.
FIRST_ZONE = timezone(timedelta(hours=14))


@dataclass(frozen=True)
class Done:
    """The wait is over.

    :param value: what the sensor returns, plain JSON.
    :param remark: what the log should warn of.
    """

    value: Any
    remark: str | None = None


@dataclass(frozen=True)
class NotYet:
    """The wait goes on.

    :param reason: what was found, for the log.
    :param not_before: until then the answer will surely be the same; None where that cannot be told.
    :param level: of the line in the log.
    """

    reason: str
    not_before: datetime | None = None
    level: int = logging.INFO


@dataclass(frozen=True)
class Refusal:
    """Optimove does not know the campaign, or not yet."""

    message: str


class Question(ABC):
    """One call of Optimove's; equal questions have the same answer."""

    @abstractmethod
    def ask(self, client: OptimoveClient) -> Any:
        """Make the call.

        :raises OptimoveError: as the client raises it.
        """


class Wait(ABC):
    """A wait: a question, and which answer ends it. Its text says what is waited for."""

    @property
    @abstractmethod
    def question(self) -> Question:
        """What is asked."""

    @abstractmethod
    def judge(self, answer: Any, now: datetime) -> Done | NotYet:
        """What an answer means.

        :param answer: the answer to :attr:`question`.
        :param now: the present, with a time zone.
        :raises OptimoveError: the wait cannot succeed any more, or the answer cannot be read.
        """


class SensorWait(Wait):
    """A wait that begins in one process and ends in another."""

    @property
    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """From what this wait can be built again; plain JSON."""

    def answer_in(self, told: Any) -> Any:
        """The answer to :attr:`question` from the value of a :class:`Done`, for :meth:`judge` to look at it again."""
        return told


@dataclass(frozen=True)
class DataDateQuestion(Question):
    """Up to which date there is data."""

    def __str__(self) -> str:
        return "GetLastDataUpdate"

    def ask(self, client: OptimoveClient) -> date:
        """Make the call."""
        return client.get_last_data_update()


@dataclass(frozen=True)
class DataDateWait(SensorWait):
    """Waits until there is data of a date.

    :param target: the date.
    :param origin: where it comes from, for the log.
    """

    target: date
    origin: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, target_date: object) -> DataDateWait:
        """The wait that its :attr:`arguments` describe.

        :raises OptimoveInputError: this is no date.
        """
        return cls(as_date(target_date, "target_date"))

    def __str__(self) -> str:
        return f"data of {self.target}" + (f" ({self.origin})" if self.origin else "")

    @property
    def question(self) -> DataDateQuestion:
        """GetLastDataUpdate."""
        return DataDateQuestion()

    @property
    def arguments(self) -> dict[str, Any]:
        """The date as ``YYYY-MM-DD``."""
        return {"target_date": self.target.isoformat()}

    def judge(self, answer: date, now: datetime) -> Done | NotYet:
        """Done from the date on; there is no data of a day that has begun nowhere yet."""
        if answer >= self.target:
            return Done(answer.isoformat())
        begins = datetime.combine(self.target, time(), FIRST_ZONE)
        return NotYet(f"GetLastDataUpdate: {answer}", not_before=begins if begins > now else None)

    def answer_in(self, told: Any) -> date:
        """A date that was written as ``YYYY-MM-DD``."""
        if not isinstance(told, str) or told != told.strip():
            raise OptimoveInputError(f"{told!r} is not a date")
        return as_date(told, "date")


@dataclass(frozen=True)
class CampaignQuestion(Question):
    """How a campaign is, as a whole or on one channel."""

    campaign_id: int
    channel_id: int | None = None

    def __str__(self) -> str:
        if self.channel_id is None:
            return f"GetCampaignDetails of campaign {self.campaign_id}"
        return f"GetExecutedCampaignChannelDetails of campaign {self.campaign_id}, channel {self.channel_id}"

    def ask(self, client: OptimoveClient) -> Any:
        """Make the call; a refusal that may be about the campaign is an answer, too."""
        try:
            if self.channel_id is None:
                return client.get_campaign_details(campaign_id=self.campaign_id)
            return client.get_executed_campaign_channel_details(
                campaign_id=self.campaign_id, channel_id=self.channel_id
            )
        except OptimoveBadRequestError as error:
            said = error.message.lower()
            # Nothing else was sent that could be wrong.
            about_the_channel = self.channel_id is not None and "channel" in said and "campaign" not in said
            if error.status != 400 or about_the_channel:
                raise
            return Refusal(str(error))


@dataclass(frozen=True)
class CampaignWait(SensorWait):
    """Waits until a campaign is in one of the allowed states.

    :param campaign_id: the campaign.
    :param allowed_states: end the wait.
    :param failed_states: fail it.
    """

    campaign_id: int
    allowed_states: tuple[str, ...] = (SUCCESSFUL,)
    failed_states: tuple[str, ...] = ("Failed",)

    def __str__(self) -> str:
        return f"campaign {self.campaign_id} to be {' or '.join(self.allowed_states)}"

    @property
    def question(self) -> CampaignQuestion:
        """GetCampaignDetails."""
        return CampaignQuestion(self.campaign_id)

    @property
    def arguments(self) -> dict[str, Any]:
        """Campaign and states."""
        return {
            "campaign_id": self.campaign_id,
            "allowed_states": list(self.allowed_states),
            "failed_states": list(self.failed_states),
        }

    def judge(self, answer: Any, now: datetime) -> Done | NotYet:
        """Done with the details as Optimove sent them; failed with a failed state, or an Error."""
        if isinstance(answer, Refusal):
            return _unknown(answer)
        if not answer:
            return NotYet(f"Optimove has no details of campaign {self.campaign_id} yet")
        details = by_lower_name(answer)
        status, error = (str(details.get(name) or "").strip() for name in ("status", "error"))
        allowed = is_in(status, self.allowed_states)
        # Who allows Partially Run knows that it comes with an Error.
        if allowed and (not error or not is_in(status, (SUCCESSFUL,))):
            return Done(answer, remark=f"campaign {self.campaign_id} is {status}: {error}" if error else None)
        if error or is_in(status, self.failed_states):
            raise OptimoveCampaignFailedError(
                f"campaign {self.campaign_id} is {status or 'in no state'}: {error or 'Optimove gives no reason'}",
                function="GetCampaignDetails",
            )
        return NotYet(f"campaign {self.campaign_id} is {status or 'in no state'}")


@dataclass(frozen=True)
class CampaignOnChannelWait(SensorWait):
    """Waits until all sends of a campaign on a channel are due.

    :param campaign_id: the campaign.
    :param channel_id: the channel.
    """

    campaign_id: int
    channel_id: int

    def __str__(self) -> str:
        return f"the sends of campaign {self.campaign_id} on channel {self.channel_id}"

    @property
    def question(self) -> CampaignQuestion:
        """GetExecutedCampaignChannelDetails."""
        return CampaignQuestion(self.campaign_id, self.channel_id)

    @property
    def arguments(self) -> dict[str, Any]:
        """Campaign and channel."""
        return {"campaign_id": self.campaign_id, "channel_id": self.channel_id}

    def judge(self, answer: Any, now: datetime) -> Done | NotYet:
        """Done with the rows as Optimove sent them: there are some, and none of them is still to come."""
        if isinstance(answer, Refusal):
            return _unknown(answer)
        if not answer:
            return NotYet(f"campaign {self.campaign_id} has no sends on channel {self.channel_id} yet")
        if not isinstance(answer, list):
            raise OptimoveResponseError(f"expected rows, got {type(answer).__name__}")
        last = max(map(_scheduled_time, answer))
        if last <= now:
            return Done(answer)
        return NotYet(
            f"the last of {len(answer)} sends is scheduled for {last.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            not_before=last,
        )


def campaign_wait(
    campaign_id: object,
    channel_id: object = None,
    allowed_states: object = (SUCCESSFUL,),
    failed_states: object = ("Failed",),
) -> CampaignWait | CampaignOnChannelWait:
    """The wait for a campaign, from arguments as users give them.

    :param campaign_id: a number, or text of one.
    :param channel_id: a number, or text of one; None: the whole campaign.
    :param allowed_states: one or several states.
    :param failed_states: none, one or several states.
    :raises OptimoveInputError: one of them is not valid.
    """
    campaign = as_number(campaign_id, "campaign_id")
    if channel_id is not None:
        return CampaignOnChannelWait(campaign, as_number(channel_id, "channel_id"))
    allowed = _as_states(allowed_states, "allowed_states")
    if not allowed:
        raise OptimoveInputError("allowed_states: empty; no state would end the wait")
    return CampaignWait(campaign, allowed, _as_states(failed_states, "failed_states"))


def _unknown(refusal: Refusal) -> NotYet:
    return NotYet(f"waiting as for an id that is not known yet: {refusal.message}", level=logging.WARNING)


def as_number(value: object, name: str) -> int:
    """A number, or the one that a text holds.

    :param value: what should be one.
    :param name: what it is called in an error.
    :raises OptimoveInputError: it is none.
    """
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise OptimoveInputError(f"{name}: {value!r} is not a number")


def _as_states(value: object, name: str) -> tuple[str, ...]:
    states = [value] if isinstance(value, str) else value
    if isinstance(states, Iterable) and not isinstance(states, Mapping):
        listed = tuple(states)
        if all(isinstance(state, str) and state.strip() for state in listed):
            return tuple(state.strip() for state in listed)
    raise OptimoveInputError(f"{name}: {value!r} is not a list of states such as 'Successful', 'Partially Run'")


def is_in(state: str, states: Iterable[str]) -> bool:
    """Whether a state is one of some, in any letter case."""
    return state.casefold() in {other.casefold() for other in states}


def by_lower_name(fields: Any) -> dict[str, Any]:
    """The fields of an object by their names in lower case.

    :raises OptimoveResponseError: this is no object.
    """
    if not isinstance(fields, Mapping):
        raise OptimoveResponseError(f"expected an object, got {type(fields).__name__}")
    return {str(name).lower(): value for name, value in fields.items()}


def _scheduled_time(row: Any) -> datetime:
    text = by_lower_name(row).get("scheduledtime")
    try:
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError:
        raise OptimoveResponseError(f"ScheduledTime: expected a time, got {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
