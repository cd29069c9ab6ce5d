"""SessionM's Campaigns API as its document has it: the 21 addresses, error codes, attributes and allowed values.

Data, and one function that chooses. The client, the stand-in, the documentation's table and the tests read the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

CUSTOMER_IDS = ("user_id", "external_id", "auth_token")
CAMPAIGN_IDS = ("campaign_id", "permalink")

SECTIONS = ("progress", "behaviors", "offers", "redemptions")
FILTERS = ("eligible", "ineligible", "all")
# An empty one asks for no creatives.
CREATIVES = ("promotion", "tile", "")
STATUSES = ("live", "paused", "draft", "inreview", "completed")
CAMPAIGN_TYPES = ("promotion", "messaging")
STATES = ("qualified", "not_qualified", "opted_in", "opted_out", "in_progress", "completed")

INVALID_API_KEY = "Invalid_api_key"
USER_NOT_FOUND = "User_not_found"
NO_ACTIVE_CAMPAIGN_FOUND = "No_active_campaign_found"
NO_CAMPAIGN_FOUND = "no_campaign_found"
CAMPAIGN_NOT_FOUND = (NO_ACTIVE_CAMPAIGN_FOUND, NO_CAMPAIGN_FOUND)

GENERIC_CODES = (INVALID_API_KEY, USER_NOT_FOUND, NO_ACTIVE_CAMPAIGN_FOUND)
"""What any operation may answer. The document leaves its generic errors to another one; these say what can be wrong
with a key, a customer or a campaign, wherever one is named."""

AttributeKind = Literal["text", "integer", "boolean", "time", "object"]

REQUIRED_ATTRIBUTES = ("name", "status", "starts_at", "ends_at")

CAMPAIGN_ATTRIBUTES: Mapping[str, AttributeKind] = {
    "name": "text",
    "status": "text",
    "starts_at": "time",
    "ends_at": "time",
    "external_id": "text",
    "campaign_type": "text",
    "template": "text",
    "id": "integer",
    "metadata": "object",
    "total_budget": "integer",
    "weight": "integer",
    "division_id": "text",
    "campaign_id": "integer",
    "campaign_permalink": "text",
    "start_date": "text",
    "end_date": "text",
    "permalink": "text",
    "optin_required": "boolean",
    "opt_in_starts_at": "time",
    "opt_in_ends_at": "time",
    "reporting_ends_at": "time",
    "targeting": "object",
    "qualify_tag": "text",
    "disqualify_tag": "text",
    "qualified": "boolean",
    "group_id": "integer",
    "creative_id": "integer",
    "version": "text",
}
"""What a campaign can be created with; the rest of what the document names."""


@dataclass(frozen=True)
class Endpoint:
    """One address.

    :param operation: what it does, by the client's name.
    :param verb: HTTP verb.
    :param path: the address; marks such as ``{user_id}`` stand for ids.
    :param codes: the error codes that the document names for the operation.
    :param query: what else its query may hold.
    :param writes: whether it changes something, whatever its verb.
    """

    operation: str
    verb: str
    path: str
    codes: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    writes: bool = False

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids that it takes, without the API key."""
        return frozenset(re.findall(r"{(\w+)}", self.path)) - {"api_key"}

    @property
    def all_codes(self) -> tuple[str, ...]:
        """The codes of the operation, and the generic ones."""
        return tuple(dict.fromkeys((*self.codes, *GENERIC_CODES)))


def _forms(
    operation: str,
    verb: str,
    *paths: str,
    codes: tuple[str, ...] = (),
    query: tuple[str, ...] = (),
    writes: bool = False,
) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(operation, verb, path, codes, query, writes) for path in paths)


# The paths are as irregular as they look: progress repeats "external" before the permalink, the one campaign of v2 does
# not where the customer's id is an external one, and then only the server knows an id from a permalink.
ENDPOINTS: tuple[Endpoint, ...] = (
    *_forms(
        "create_campaign",
        "POST",
        "/priv/v1/apps/{api_key}/campaigns",
        codes=("argument_error", "missing_data", "not_found", "validation"),
        writes=True,
    ),
    *_forms(
        "opt_in",
        "GET",
        "/priv/v1/apps/{api_key}/users/{user_id}/campaigns/{campaign_id}/opt_in",
        "/priv/v1/apps/{api_key}/external/users/{external_id}/campaigns/{campaign_id}/opt_in",
        codes=(
            "user_ineligible_for_campaign",
            "opt_in_not_started",
            "opt_in_ended",
            "opt_in_limit_reached",
            "opt_in_error",
        ),
        writes=True,
    ),
    *_forms(
        "campaigns_of_customer",
        "GET",
        "/priv/v1/apps/{api_key}/users/{user_id}/campaigns",
        "/priv/v1/apps/{api_key}/external/users/{external_id}/campaigns",
        "/api/v1/apps/{api_key}/campaigns?auth_token={auth_token}",
        codes=(NO_ACTIVE_CAMPAIGN_FOUND, USER_NOT_FOUND, INVALID_API_KEY),
        query=("division_ids",),
    ),
    *_forms(
        "progress",
        "GET",
        "/priv/v1/apps/{api_key}/users/{user_id}/campaigns/{campaign_id}/progress",
        "/priv/v1/apps/{api_key}/users/{user_id}/external/campaigns/{permalink}/progress",
        "/priv/v1/apps/{api_key}/external/users/{external_id}/campaigns/{campaign_id}/progress",
        "/priv/v1/apps/{api_key}/external/users/{external_id}/external/campaigns/{permalink}/progress",
        "/api/v1/apps/{api_key}/campaigns/{campaign_id}/progress?auth_token={auth_token}",
        "/api/v1/apps/{api_key}/external/campaigns/{permalink}/progress?auth_token={auth_token}",
        codes=(NO_CAMPAIGN_FOUND,),
    ),
    *_forms(
        "eligible_campaigns",
        "GET",
        "/priv/v2/apps/{api_key}/users/{user_id}/campaigns",
        "/priv/v2/apps/{api_key}/external/users/{external_id}/campaigns",
        query=("sections[]", "filters[]", "creatives[]", "division_ids", "page", "page_size"),
    ),
    *_forms(
        "campaign_of_customer",
        "GET",
        "/priv/v2/apps/{api_key}/users/{user_id}/campaigns/{campaign_id}",
        "/priv/v2/apps/{api_key}/users/{user_id}/external/campaigns/{permalink}",
        "/priv/v2/apps/{api_key}/external/users/{external_id}/campaigns/{permalink}",
        "/priv/v2/apps/{api_key}/external/users/{external_id}/campaigns/{campaign_id}",
        query=("sections[]", "filters[]", "creatives[]"),
    ),
    *_forms(
        "active_campaigns",
        "GET",
        "/priv/v1/apps/{api_key}/campaigns",
        codes=("missing_data", "not_found", "validation"),
        query=("division_ids",),
    ),
    *_forms(
        "campaign_info",
        "GET",
        "/priv/v1/apps/{api_key}/campaigns/{campaign_id}/info",
        "/priv/v1/apps/{api_key}/external/campaigns/{permalink}/info",
        codes=(NO_ACTIVE_CAMPAIGN_FOUND, USER_NOT_FOUND, INVALID_API_KEY),
        query=("api_version",),
    ),
)

DOCUMENTED_CODES = frozenset(code.lower() for endpoint in ENDPOINTS for code in endpoint.all_codes)
"""Every code of the document, in lower case: they come in mixed case."""


def endpoint_for(operation: str, ids: Collection[str]) -> Endpoint:
    """The form of an operation that takes exactly these ids.

    :param operation: the client's name of it.
    :param ids: the names of the ids that were given.
    :raises KeyError: there is no such form.
    """
    for endpoint in ENDPOINTS:
        if endpoint.operation == operation and endpoint.ids == set(ids):
            return endpoint
    raise KeyError(operation, *ids)
