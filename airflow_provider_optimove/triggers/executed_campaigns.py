"""Which campaigns are new: what is asked for that, and what an answer means. No clock is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError
from airflow_provider_optimove.sensors.waits import Done, NotYet, Question, Wait, as_number, by_lower_name, is_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime, tzinfo

    from airflow_provider_optimove.clients.optimove.client import OptimoveClient


@dataclass(frozen=True)
class ExecutedCampaignsQuestion(Question):
    """Which campaigns were executed on some days."""

    days: tuple[date, ...]

    def __str__(self) -> str:
        return f"GetExecutedCampaignDetails of {', '.join(map(str, self.days))}"

    def ask(self, client: OptimoveClient) -> dict[date, Any]:
        """Make a call for each day."""
        return {day: client.get_executed_campaign_details(date=day) for day in self.days}


@dataclass(frozen=True)
class NewCampaignsWait(Wait):
    """Waits until a campaign was executed that is not known, or until the last of the days is over.

    :param days: in their order.
    :param known: campaigns; None: whatever is there ends the wait.
    :param zone: in which the days are days.
    """

    days: tuple[date, ...]
    known: frozenset[int] | None
    zone: tzinfo

    def __str__(self) -> str:
        return "campaigns to be executed"

    @property
    def question(self) -> ExecutedCampaignsQuestion:
        """GetExecutedCampaignDetails."""
        return ExecutedCampaignsQuestion(self.days)

    def judge(self, answer: Mapping[date, Any], now: datetime) -> Done | NotYet:
        """Done with ``{"CampaignID": …, "Date": …}`` of each new campaign, the days in their order."""
        found = {day: [_campaign_id(row) for row in rows or () if _is_executed(row)] for day, rows in answer.items()}
        # A campaign of two days was executed on the later one: its lead time points to the other.
        days = {campaign: day for day in self.days for campaign in found[day] if campaign not in (self.known or ())}
        if days or self.known is None or now.astimezone(self.zone).date() > self.days[-1]:
            new = sorted((day, campaign) for campaign, day in days.items())
            return Done([{"CampaignID": campaign, "Date": day.isoformat()} for day, campaign in new])
        counts = ", ".join(f"{len(found[day])} of {day}" for day in self.days)
        return NotYet(f"GetExecutedCampaignDetails: {counts}, none of them new")


def _is_executed(row: Any) -> bool:
    # A lead time can point to the day before the campaign is executed.
    status = str(by_lower_name(row).get("status") or "")
    return not is_in(status.strip(), ("Not Run", "Failed"))


def _campaign_id(row: Any) -> int:
    try:
        return as_number(by_lower_name(row).get("campaignid"), "CampaignID")
    except OptimoveInputError as error:
        raise OptimoveResponseError(f"GetExecutedCampaignDetails: {error}") from None
