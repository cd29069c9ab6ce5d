"""Which campaigns are new: decided without a call, and without a clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_optimove.exceptions import OptimoveResponseError
from airflow_provider_optimove.sensors.waits import Done, NotYet
from airflow_provider_optimove.triggers.executed_campaigns import NewCampaignsWait

NOW = datetime(2024, 11, 20, 12, tzinfo=UTC)
TWO_DAYS = (date(2024, 11, 19), date(2024, 11, 20))


def executed(*rows: Any, known: Any = frozenset({1}), now: datetime = NOW) -> Any:
    """What it means that the second day has these rows, the first one campaign 1."""
    wait = NewCampaignsWait(TWO_DAYS, known, UTC)
    return wait.judge({TWO_DAYS[0]: [{"CampaignID": 1, "Status": "Successful"}], TWO_DAYS[1]: list(rows)}, now)


def test_known_campaigns_are_waited_out() -> None:
    counts = "1 of 2024-11-19, 1 of 2024-11-20, none of them new"
    assert executed({"CampaignID": 1}) == NotYet(f"GetExecutedCampaignDetails: {counts}")


@pytest.mark.parametrize("answer", [None, []])
def test_a_day_without_campaigns_is_waited_out(answer: Any) -> None:
    assert isinstance(NewCampaignsWait(TWO_DAYS, frozenset(), UTC).judge(dict.fromkeys(TWO_DAYS, answer), NOW), NotYet)


@pytest.mark.parametrize("row", [{"CampaignID": 7}, {"campaignId": "7", "STATUS": "Partially Run"}])
def test_a_new_campaign_ends_the_wait(row: Any) -> None:
    assert executed(row) == Done([{"CampaignID": 7, "Date": "2024-11-20"}])


@pytest.mark.parametrize("status", ["Not Run", "not run ", "Failed"])
def test_a_campaign_that_was_not_executed_is_none(status: str) -> None:
    assert isinstance(executed({"CampaignID": 7, "Status": status}), NotYet)


def test_a_campaign_of_two_days_was_executed_on_the_later_one() -> None:
    outcome = executed({"CampaignID": 1}, {"CampaignID": 0}, known=frozenset())
    assert outcome == Done([{"CampaignID": 0, "Date": "2024-11-20"}, {"CampaignID": 1, "Date": "2024-11-20"}])


def test_the_end_of_the_last_day_ends_the_wait() -> None:
    assert executed(now=datetime(2024, 11, 21, tzinfo=UTC)) == Done([])
    assert isinstance(executed(now=datetime(2024, 11, 20, 23, 59, 59, tzinfo=UTC)), NotYet)


def test_the_last_day_ends_when_it_ends_in_the_zone() -> None:
    nothing: dict[date, Any] = dict.fromkeys(TWO_DAYS)
    evening = datetime(2024, 11, 20, 11, tzinfo=UTC)
    assert NewCampaignsWait(TWO_DAYS, frozenset(), ZoneInfo("Pacific/Auckland")).judge(nothing, evening) == Done([])
    still = NewCampaignsWait(TWO_DAYS, frozenset(), ZoneInfo("America/Los_Angeles")).judge(
        nothing, evening + timedelta(hours=20)
    )
    assert isinstance(still, NotYet)


def test_at_the_first_look_whatever_is_there_ends_the_wait() -> None:
    assert executed(known=None) == Done([{"CampaignID": 1, "Date": "2024-11-19"}])


@pytest.mark.parametrize("row", [{}, {"CampaignID": "x"}, 7])
def test_campaigns_that_cannot_be_read_may_pass(row: Any) -> None:
    with pytest.raises(OptimoveResponseError):
        executed(row)
