"""Every address and every error code of SessionM, called over HTTP; docs/sessionm.md shows what came back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_optimove.clients.http import HttpSettings
from airflow_provider_optimove.clients.sessionm.client import SessionMClient, SessionMSettings
from airflow_provider_optimove.clients.sessionm.endpoints import ENDPOINTS, Endpoint
from airflow_provider_optimove.exceptions import SessionMError
from airflow_provider_optimove.sandbox.sessionm import SessionMSandbox, addressed

if TYPE_CHECKING:
    pass

PAGE = Path(__file__).parents[3] / "docs" / "sessionm.md"
BEGIN, END = "<!-- every address: written by tests/clients/sessionm/test_every_endpoint.py -->\n", "<!-- end -->"
STATUSES = (200, 401, 404, 500)
UNKNOWN = "99"
CAMPAIGN: dict[str, Any] = {
    "name": "Winter",
    "status": "live",
    "starts_at": "2026-11-01 00:00:00",
    "ends_at": "2099-12-24 00:00:00",
}


@dataclass
class Scene:
    """A SessionM, and the arguments of a call that would succeed."""

    sessionm: SessionMSandbox
    endpoint: Endpoint
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        customer, visitor, campaign = self.sessionm.customers[2], self.sessionm.visitors[0], self.sessionm.campaigns[1]
        known = {
            "user_id": customer.user_id,
            "external_id": customer.external_id,
            "auth_token": visitor.auth_token,
            "campaign_id": campaign.id,
            "permalink": campaign.permalink,
        }
        self.arguments |= {name: known[name] for name in self.endpoint.ids}
        if self.endpoint.operation == "create_campaign":
            self.arguments["campaign"] = dict(CAMPAIGN)

    def unknown(self, *names: str) -> None:
        """Name somebody or something that SessionM does not know."""
        (name,) = (name for name in names if name in self.arguments)
        self.arguments[name] = UNKNOWN

    def another_campaign(self, number: int) -> None:
        self.arguments["campaign_id"] = number

    def attribute(self, name: str, value: Any) -> None:
        self.arguments["campaign"][name] = value

    def all_opted_in(self) -> None:
        self.another_campaign(5)
        self.sessionm.campaigns[5].opt_in_limit = 0

    def wrong_secret(self) -> None:
        self.sessionm.api_secret = "another"

    def no_campaigns(self) -> None:
        self.sessionm.campaigns.clear()

    def not_eligible(self) -> None:
        self.another_campaign(7)


CUSTOMER = ("user_id", "external_id", "auth_token")
ONE_CAMPAIGN = ("campaign_id", "permalink")

# By what is so; the codes that are missing here are answered because the stand-in is told to.
CAUSES: dict[tuple[str, str], Callable[[Scene], None]] = {
    ("create_campaign", "argument_error"): lambda scene: scene.attribute("test", 1),
    ("create_campaign", "not_found"): lambda scene: scene.attribute("division_id", UNKNOWN),
    ("create_campaign", "validation"): lambda scene: scene.attribute("name", "Campaign 1"),
    ("opt_in", "user_ineligible_for_campaign"): Scene.not_eligible,
    ("opt_in", "opt_in_not_started"): lambda scene: scene.another_campaign(3),
    ("opt_in", "opt_in_ended"): lambda scene: scene.another_campaign(4),
    ("opt_in", "opt_in_limit_reached"): Scene.all_opted_in,
    ("progress", "no_campaign_found"): lambda scene: scene.unknown(*ONE_CAMPAIGN),
    ("campaigns_of_customer", "No_active_campaign_found"): Scene.no_campaigns,
    ("active_campaigns", "missing_data"): Scene.no_campaigns,
    ("active_campaigns", "not_found"): lambda scene: scene.arguments.update(division_ids=[UNKNOWN]),
    **{
        (operation, "User_not_found"): lambda scene: scene.unknown(*CUSTOMER)
        for operation in ("opt_in", "campaigns_of_customer", "progress", "eligible_campaigns", "campaign_of_customer")
    },
    **{
        (operation, "No_active_campaign_found"): lambda scene: scene.unknown(*ONE_CAMPAIGN)
        for operation in ("opt_in", "campaign_of_customer", "campaign_info")
    },
    **{(endpoint.operation, "Invalid_api_key"): Scene.wrong_secret for endpoint in ENDPOINTS},
}

PAIRS = [(endpoint, code) for endpoint in ENDPOINTS for code in endpoint.all_codes]


def named(value: Any) -> str | None:
    return f"{value.verb} {value.path}" if isinstance(value, Endpoint) else None


def call(client: SessionMClient, scene: Scene) -> Any:
    answer = getattr(client, scene.endpoint.operation)(**scene.arguments)
    return list(answer) if isinstance(answer, Iterator) else answer


def address_of(sessionm: SessionMSandbox, endpoint: Endpoint) -> None:
    """The last call went to this address."""
    last = sessionm.calls[-1]
    assert (last.function, last.verb) == (endpoint.operation, endpoint.verb)
    assert endpoint in [found for found, _ in addressed(last.verb, last.path, [name for name, _ in last.query])]
    assert {name for name, _ in last.query} <= {*endpoint.ids, *endpoint.query}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_every_address(sessionm: SessionMSandbox, client: SessionMClient, endpoint: Endpoint) -> None:
    assert call(client, Scene(sessionm, endpoint))
    address_of(sessionm, endpoint)
    assert len(sessionm.opt_ins) + len(sessionm.created) == endpoint.writes


def provoked(sessionm: SessionMSandbox, client: SessionMClient, endpoint: Endpoint, code: str) -> SessionMError:
    scene = Scene(sessionm, endpoint)
    cause = CAUSES.get((endpoint.operation, code))
    if cause is None:
        sessionm.refuse(endpoint.operation, code)
    else:
        cause(scene)
    with pytest.raises(SessionMError) as caught:
        call(client, scene)
    address_of(sessionm, endpoint)
    return caught.value


@pytest.mark.parametrize(("endpoint", "code"), PAIRS, ids=named)
def test_every_code(sessionm: SessionMSandbox, client: SessionMClient, endpoint: Endpoint, code: str) -> None:
    error = provoked(sessionm, client, endpoint, code)
    assert (error.code, error.function, error.status) == (code, endpoint.operation, sessionm.calls[-1].status)
    assert (error.refused, error.may_have_happened) == (True, False)
    assert error.permanent is (code != "opt_in_error")
    assert error.message.startswith(f"SessionM answered {code}")
    assert (sessionm.opt_ins, sessionm.created, len(sessionm.calls)) == ([], [], 1)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_every_status_and_spelling(
    sessionm: SessionMSandbox, client: SessionMClient, endpoint: Endpoint, status: int
) -> None:
    for number, code in enumerate(endpoint.all_codes):
        sessionm.code_case = (str.upper, str.lower, str.title)[number % 3]
        sessionm.refuse(endpoint.operation, code, status=status)
        with pytest.raises(SessionMError) as caught:
            call(client, Scene(sessionm, endpoint))
        assert (caught.value.code, caught.value.status) == (sessionm.code_case(code), status)
        assert (caught.value.refused, caught.value.permanent) == (True, code != "opt_in_error")
        sessionm.forgive()
    assert len(sessionm.calls) == len(endpoint.all_codes)


def test_the_table_of_the_page() -> None:
    lines = ["| Method | Address | OK | Errors that came, with their HTTP status |", "|---|---|---|---|"]
    before = ""
    for endpoint in ENDPOINTS:
        seen: list[tuple[str | None, int | None]] = []
        for code in (None, *endpoint.all_codes):
            with SessionMSandbox(customers=30) as sessionm:
                settings = SessionMSettings(HttpSettings(sessionm.url), sessionm.api_key, sessionm.api_secret)
                with SessionMClient(settings) as client:
                    if code is None:
                        call(client, Scene(sessionm, endpoint))
                        seen.append((None, sessionm.calls[-1].status))
                    else:
                        error = provoked(sessionm, client, endpoint, code)
                        seen.append((error.code, error.status))
        (_, status), *errors = seen
        method = "" if endpoint.operation == before else f"`{endpoint.operation}`"
        before = endpoint.operation
        codes = ", ".join(f"`{code}` {status}" for code, status in errors)
        lines.append(f"| {method} | `{endpoint.verb} {endpoint.path}` | {status} | {codes} |")
    table = "".join(f"{line}\n" for line in lines)
    found = re.search(f"{re.escape(BEGIN)}(.*?){END}", PAGE.read_text(), re.DOTALL)
    assert found is not None
    assert found[1] == table, f"what came back is now:\n{table}"
