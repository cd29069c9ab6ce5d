"""Every operator of a write: from a list, from a file, from templates; what arrives, what is told."""

from __future__ import annotations

import csv
import datetime
import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.operators import optimove
from airflow_provider_optimove.operators.batched_write import OptimoveBatchedWriteOperator
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.world import MAIL_TEMPLATES, customer_id

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

OPERATORS = {
    operator.function: operator
    for operator in vars(optimove).values()
    if inspect.isclass(operator)
    and issubclass(operator, OptimoveBatchedWriteOperator)
    and operator is not OptimoveBatchedWriteOperator
}
METRIC = {"ChannelID": 504, "CampaignID": 221, "TemplateID": 7, "MetricID": 2, "MetricValue": 90}
EVENT = {"CampaignID": 221, "ChannelID": 504, "InteractionDate": "2026-11-20", "TemplateID": 7, "EventID": 2}
MAIL_TEMPLATE = next(iter(MAIL_TEMPLATES))
TAGS = [{"Tag": "[%NAME%]", "Value": "Ada"}]


class Case:
    """What one operator is given, and what is then to be found.

    :param field: its rows argument.
    :param rows: two rows.
    :param arguments: its other arguments.
    :param found: what the sandbox then holds.
    """

    def __init__(
        self, field: str, rows: list[dict[str, Any]], found: Callable[[OptimoveSandbox], Any], **arguments: Any
    ) -> None:
        self.field = field
        self.rows = rows
        self.found = found
        self.arguments = arguments


CASES: dict[str, tuple[Case, Any]] = {
    "AddPromotions": (
        Case(
            "promotions",
            [{"PromoCode": "A1", "PromotionName": "One"}, {"PromoCode": "A2", "PromotionName": "Two"}],
            lambda sandbox: sandbox.promotions,
        ),
        {"A1": "One", "A2": "Two"},
    ),
    "DeletePromotions": (
        Case("promo_codes", [{"PromoCode": "OLD"}, {"PromoCode": "OLDER"}], lambda sandbox: sandbox.promotions),
        {},
    ),
    "UpdateCustomerPromotionStatus": (
        Case(
            "promos_updated",
            [{"CustomerID": "C1", "Status": True}, {"CustomerID": "C2", "Status": False}],
            lambda sandbox: sandbox.promotion_statuses,
            campaign_id=221,
        ),
        {221: {"C1": True, "C2": False}},
    ),
    "UpdateCampaignMetrics": (
        Case("metrics", [METRIC, {**METRIC, "RecipientGroupID": 3}], lambda sandbox: sandbox.metrics),
        [{**METRIC, "RecipientGroupID": 1}, {**METRIC, "RecipientGroupID": 3}],
    ),
    "UpdateCampaignInteractions": (
        Case(
            "interactions",
            [{"CustomerID": "C1", **EVENT}, {"CustomerID": "C2", **EVENT}],
            lambda sandbox: sandbox.interactions,
        ),
        [
            {
                **EVENT,
                "InteractionDate": datetime.date(2026, 11, 20),
                "RecipientGroupID": 1,
                "CustomerIDs": ["C1", "C2"],
            }
        ],
    ),
    "AddChannelTemplates": (
        Case(
            "templates",
            [{"TemplateID": 1, "TemplateName": "One"}, {"TemplateID": 2, "TemplateName": "Two"}],
            lambda sandbox: sandbox.channel_templates[999],
            channel_id=999,
        ),
        {1: "One", 2: "Two"},
    ),
    "DeleteChannelTemplates": (
        Case(
            "templates",
            [{"ChannelID": 998, "TemplateID": 1}, {"ChannelID": 998, "TemplateID": 2}],
            lambda sandbox: sandbox.channel_templates[998],
        ),
        {3: "Three"},
    ),
    "AddChannelApps": (
        Case(
            "apps",
            [{"AppID": "1", "AppName": "One"}, {"AppID": "2", "AppName": "Two"}],
            lambda sandbox: sandbox.apps[999],
            channel_id=999,
        ),
        {"1": "One", "2": "Two"},
    ),
    "DeleteChannelApps": (
        Case(
            "apps",
            [{"ChannelID": 998, "AppID": "1"}, {"ChannelID": 998, "AppID": "2"}],
            lambda sandbox: sandbox.apps[998],
        ),
        {"3": "Three"},
    ),
    "SetCustomerChannelPreference": (
        Case(
            "customer_ids",
            [{"CustomerID": "C1"}, {"CustomerID": "C2"}],
            lambda sandbox: sandbox.preferences,
            channel_id=504,
            communication_mode=2,
        ),
        {(504, None): {"C1": 2, "C2": 2}},
    ),
    "RemoveCustomerPII": (
        Case(
            "customer_ids",
            [{"CustomerID": customer_id(1)}, {"CustomerID": customer_id(2)}],
            lambda sandbox: sandbox.erased_customers,
        ),
        {customer_id(1), customer_id(2)},
    ),
    "AddExternalRealtimeTriggers": (
        Case(
            "realtime_triggers",
            [{"TriggerID": "1", "TriggerName": "One"}, {"TriggerID": "2", "TriggerName": "Two"}],
            lambda sandbox: sandbox.realtime_triggers,
        ),
        {"1": "One", "2": "Two"},
    ),
    "SendTransactionalMail": (
        Case(
            "recipients",
            [{"Email": "ada@example.com", "Personalizations": TAGS}, {"Email": "bob@example.com"}],
            lambda sandbox: [mail["Recipients"] for mail in sandbox.mails],
            template_id=MAIL_TEMPLATE,
        ),
        [[{"Email": "ada@example.com", "Personalizations": TAGS}, {"Email": "bob@example.com"}]],
    ),
}


@pytest.fixture(autouse=True)
def what_there_was(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.channel_templates[998] = {1: "One", 2: "Two", 3: "Three"}
    optimove_sandbox.apps[998] = {"1": "One", "2": "Two", "3": "Three"}


def written(rows: list[dict[str, Any]], path: Path) -> str:
    """The rows as a file; in CSV, what nests is JSON."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = list({name: None for row in rows for name in row})
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row in rows:
                writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})
    return str(path)


def test_every_batched_write_has_an_operator() -> None:
    assert set(OPERATORS) == set(CASES) == {name for name, function in catalogue().items() if function.rows}


@pytest.mark.parametrize("source", ["list", "other case", "rows.jsonl", "rows.csv", "pathlib.csv"])
@pytest.mark.parametrize("name", CASES)
def test_operators(optimove_sandbox: OptimoveSandbox, tmp_path: Path, name: str, source: str) -> None:
    case, expected = CASES[name]
    if name == "DeletePromotions":
        optimove_sandbox.promotions |= {"OLD": "Old", "OLDER": "Older"}
    rows: Any = case.rows
    if source == "other case":
        rows = [{key.upper(): value for key, value in row.items()} for row in rows]
    elif source == "pathlib.csv":
        rows = Path(written(rows, tmp_path / source))
    elif source != "list":
        rows = written(rows, tmp_path / source)
    result = OPERATORS[name](task_id="write", **{case.field: rows}, **case.arguments).execute({})
    assert case.found(optimove_sandbox) == expected
    assert (result["function"], result["rows"], result["batches"], result["rejected"]) == (name, 2, 1, 0)


@pytest.mark.parametrize("name", CASES)
def test_what_an_operator_says_of_itself(name: str) -> None:
    operator = OPERATORS[name]
    own = [parameter for parameter in inspect.signature(operator.__init__).parameters if parameter != "kwargs"][1:]
    documentation = inspect.getdoc(operator) or ""
    assert name in documentation
    for argument in own:
        assert f":param {argument}:" in documentation
        assert argument in operator.template_fields
    assert {"optimove_conn_id", "rejected_path", "object_storage_conn_id"} <= set(operator.template_fields)
    harmless = catalogue()[name].repeatable
    assert ("Not harmless to repeat" in documentation or "UniqueMessageID" in documentation) != harmless


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"on_uncertain": "resent"}, ("on_uncertain: expected 'fail' or 'resend', got 'resent'",)),
        ({"max_rejected": True}, ("max_rejected: expected a whole number of 1 or more, got True",)),
        (
            {"on_rejected": True, "max_rejected": 0},
            (
                "on_rejected: expected 'fail' or 'isolate', got True",
                "max_rejected: expected a whole number of 1 or more, got 0",
            ),
        ),
    ],
)
def test_choices_are_checked_when_the_dag_is_read(arguments: dict[str, Any], problems: tuple[str, ...]) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as raised:
        optimove.OptimoveAddPromotionsOperator(task_id="add", promotions=[], **arguments)
    assert raised.value.problems == problems
    assert raised.value.function == "AddPromotions"


def test_isolating_needs_a_path(optimove_sandbox: OptimoveSandbox) -> None:
    rows = CASES["AddPromotions"][0].rows
    operator = optimove.OptimoveAddPromotionsOperator(task_id="add", promotions=rows, on_rejected="isolate")
    with pytest.raises(exceptions.OptimoveInputError, match="rejected_path: needed with on_rejected='isolate'"):
        operator.execute({})
    assert optimove_sandbox.calls == []


DAG = """
import pendulum
from airflow.providers.common.compat.sdk import Asset, dag, task
from airflow_provider_optimove.operators.optimove import (
    OptimoveSetCustomerChannelPreferenceOperator,
    OptimoveUpdateCampaignInteractionsOperator,
)

REPORTED = Asset("interactions_reported")

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), params={"campaign": 221, "path": "PATH"})
def writes():
    @task
    def export():
        return "PATH"

    OptimoveUpdateCampaignInteractionsOperator(
        task_id="from_path",
        campaign_id="{{ params.campaign }}",
        channel_id=504,
        interaction_date="{{ '2026-11-20' }}",
        template_id="7",
        event_id="{{ 'opened' }}",
        customer_ids="{{ params.path }}",
        outlets=[REPORTED],
    )
    OptimoveSetCustomerChannelPreferenceOperator(
        task_id="from_xcom", channel_id=504, customer_ids=export(), communication_mode="{{ 2 }}"
    )

writes()
"""


def test_in_airflow(optimove_sandbox: OptimoveSandbox, run_dag: Any, asset_events: Any, tmp_path: Path) -> None:
    path = written([{"CustomerID": f"C{number}"} for number in range(7)], tmp_path / "rows.csv")
    asset_events.expect("interactions_reported")
    run = run_dag(textwrap.dedent(DAG).replace("PATH", path))
    assert run.states == {"export": "success", "from_path": "success", "from_xcom": "success"}
    (call,) = optimove_sandbox.interactions
    assert (call["CampaignID"], call["EventID"], len(call["CustomerIDs"])) == (221, 2, 7)
    assert len(optimove_sandbox.preferences[504, None]) == 7
    assert run.rendered("from_path")["customer_ids"] == path
    summary = run.xcom("from_path")
    assert summary == {
        "function": "UpdateCampaignInteractions",
        "rows": 7,
        "batches": 1,
        "calls": 1,
        "rejected": 0,
        "resumed_rows": 0,
    }
    assert asset_events.of("interactions_reported") == [summary]
