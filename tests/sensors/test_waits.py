"""What an answer means for a wait: decided without a call, and without a clock."""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_optimove.exceptions import (
    OptimoveBadRequestError,
    OptimoveCampaignFailedError,
    OptimoveResponseError,
)
from airflow_provider_optimove.sensors.waits import (
    CampaignQuestion,
    DataDateWait,
    Done,
    NotYet,
    Refusal,
    campaign_wait,
)

NOW = datetime(2024, 11, 20, 12, tzinfo=UTC)
DETAILS = {"TargetGroupID": 15, "Status": "Successful", "Error": None, "Notes": ""}


@pytest.mark.parametrize(
    ("now", "not_before"),
    [
        ("2024-11-20T09:59:59+00:00", "2024-11-20T10:00:00+00:00"),
        ("2024-11-20T10:00:00+00:00", None),
        ("2024-11-22T00:00:00+00:00", None),
    ],
)
def test_there_is_no_data_of_a_day_that_has_begun_nowhere(now: str, not_before: str | None) -> None:
    outcome = DataDateWait(date(2024, 11, 21)).judge(date(2024, 11, 19), datetime.fromisoformat(now))
    assert isinstance(outcome, NotYet)
    assert outcome.not_before == (None if not_before is None else datetime.fromisoformat(not_before))


@pytest.mark.parametrize(
    "answer",
    [
        DETAILS,
        DETAILS | {"Error": ""},
        DETAILS | {"Status": " SUCCESSFUL "},
        {"status": "successful", "error": None},
    ],
)
def test_a_campaign_that_was_successful_ends_the_wait(answer: dict[str, Any]) -> None:
    assert campaign_wait(221).judge(answer, NOW) == Done(answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (DETAILS | {"Error": "No template"}, "campaign 221 is Successful: No template"),
        (DETAILS | {"Status": "Not Run", "Error": "No template"}, "campaign 221 is Not Run: No template"),
        (DETAILS | {"Status": "failed"}, "campaign 221 is failed: Optimove gives no reason"),
        ({"ERROR": "No template"}, "campaign 221 is in no state: No template"),
    ],
)
def test_a_campaign_that_failed_fails_the_wait(answer: dict[str, Any], said: str) -> None:
    with pytest.raises(OptimoveCampaignFailedError) as raised:
        campaign_wait(221).judge(answer, NOW)
    assert raised.value.message == said


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "Optimove has no details of campaign 221 yet"),
        (DETAILS | {"Status": "Not Run"}, "campaign 221 is Not Run"),
        (DETAILS | {"Status": "Partially Run"}, "campaign 221 is Partially Run"),
        (DETAILS | {"Status": None}, "campaign 221 is in no state"),
    ],
)
def test_any_other_state_is_waited_out(answer: Any, reason: str) -> None:
    assert campaign_wait("221").judge(answer, NOW) == NotYet(reason)


def test_an_allowed_state_may_come_with_an_error() -> None:
    answer = DETAILS | {"Status": "Partially Run", "Error": "Some had no device"}
    done = campaign_wait(221, allowed_states="partially run").judge(answer, NOW)
    assert done == Done(answer, remark="campaign 221 is Partially Run: Some had no device")


def test_states_can_be_chosen() -> None:
    wait = campaign_wait(221, None, ["Successful"], ["Not Run", "Partially Run"])
    with pytest.raises(OptimoveCampaignFailedError):
        wait.judge(DETAILS | {"Status": "not run"}, NOW)
    assert isinstance(wait.judge(DETAILS | {"Status": "Failed"}, NOW), NotYet)


def send(moment: str) -> dict[str, Any]:
    return {"SendID": "S1", "TemplateID": 7, "ScheduledTime": moment}


@pytest.mark.parametrize(
    "times",
    [
        ["2024-11-20 12:00:00"],
        ["2024-11-20 08:00:00", "2024-11-19 23:59:59"],
        ["2024-11-20T12:00:00Z"],
        ["2024-11-20T14:00:00+02:00"],
    ],
)
def test_sends_that_are_due_end_the_wait(times: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Times without a zone are UTC wherever the worker is.
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    rows = [send(moment) for moment in times]
    assert campaign_wait(221, 504).judge(rows, NOW) == Done(rows)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("times", [["2024-11-20 12:00:01"], ["2024-11-20 12:00:01", "2024-11-20 08:00:00"]])
def test_sends_to_come_are_waited_for(times: list[str]) -> None:
    outcome = campaign_wait(221, 504).judge([send(moment) for moment in times], NOW)
    assert isinstance(outcome, NotYet)
    assert outcome.reason == f"the last of {len(times)} sends is scheduled for 2024-11-20 12:00:01 UTC"
    assert outcome.not_before == NOW + timedelta(seconds=1)


def test_no_sends_are_waited_for() -> None:
    assert campaign_wait(221, 504).judge([], NOW) == NotYet("campaign 221 has no sends on channel 504 yet")


@pytest.mark.parametrize("answer", [[{}], [send("soon")], [{"ScheduledTime": None}], {"a": 1}, [1], "x"])
def test_sends_that_cannot_be_read_may_pass(answer: Any) -> None:
    with pytest.raises(OptimoveResponseError):
        campaign_wait(221, 504).judge(answer, NOW)


def refused(message: str, channel_id: int | None, status: int = 400) -> Any:
    def refuse(**_: object) -> None:
        raise OptimoveBadRequestError(message, status=status)

    client: Any = SimpleNamespace(get_campaign_details=refuse, get_executed_campaign_channel_details=refuse)
    return CampaignQuestion(221, channel_id).ask(client)


@pytest.mark.parametrize("channel_id", [None, 504])
@pytest.mark.parametrize("message", ["Unknown CampaignID", "No such campaign on this channel", "no explanation"])
def test_a_refusal_that_may_be_about_the_campaign_is_waited_out(message: str, channel_id: int | None) -> None:
    answer = refused(message, channel_id)
    assert answer == Refusal(f"{message} (HTTP 400)")
    outcome = campaign_wait(221, channel_id).judge(answer, NOW)
    assert isinstance(outcome, NotYet)
    assert message in outcome.reason
    assert outcome.level == logging.WARNING


@pytest.mark.parametrize(("message", "status"), [("Invalid ChannelID", 400), ("Unknown CampaignID", 404)])
def test_a_refusal_of_something_else_is_none_to_wait_for(message: str, status: int) -> None:
    with pytest.raises(OptimoveBadRequestError):
        refused(message, 504, status)


@pytest.mark.parametrize("wait", [campaign_wait(1), campaign_wait("1", "2"), campaign_wait(1, None, ["A", "b"], ())])
def test_a_wait_is_built_again_from_its_arguments(wait: Any) -> None:
    assert campaign_wait(**wait.arguments) == wait
