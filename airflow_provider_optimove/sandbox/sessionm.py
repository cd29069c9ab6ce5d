"""A SessionM on localhost: customers, campaigns, opt-ins, and all 21 addresses of the Campaigns API."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from airflow_provider_optimove.clients.sessionm.endpoints import (
    CAMPAIGN_ATTRIBUTES,
    CAMPAIGN_TYPES,
    CUSTOMER_IDS,
    ENDPOINTS,
    INVALID_API_KEY,
    NO_ACTIVE_CAMPAIGN_FOUND,
    REQUIRED_ATTRIBUTES,
    STATUSES,
    USER_NOT_FOUND,
    Endpoint,
)
from airflow_provider_optimove.sandbox.serving import Received, Refused, Reply, SystemStandIn, same
from airflow_provider_optimove.sandbox.world import customer_id

DEFAULT_CREDENTIALS = ("sandbox-key", "sandbox-secret")
CAMPAIGNS = 45
DEFAULT_PAGE_SIZE = 20
DIVISIONS = ("division-north", "division-south")
FOREIGN_DIVISION = "division-of-others"
VISITORS = 3
LIMITED_OPT_INS = 5
MADE_UP = uuid.UUID("6f2b1f0c-8d3e-4d59-9a5e-0b8f6c1d2e3a")
DAY = datetime.timedelta(days=1)

STATUS_OF_CODE = {
    "invalid_api_key": 401,
    "user_not_found": 404,
    "no_active_campaign_found": 404,
    "no_campaign_found": 404,
    "not_found": 404,
    "opt_in_error": 500,
}


class Customer(NamedTuple):
    """Who takes part in campaigns: a registered customer, or a visitor who has nothing but a token."""

    number: int
    user_id: str
    external_id: str | None
    auth_token: str | None


@dataclass
class Campaign:
    """A campaign.

    :param opt_in_limit: how many opt-ins it takes; None: any number.
    :param attributes: what else it was created with.
    """

    id: int
    permalink: str
    name: str
    status: str
    starts_at: datetime.datetime
    ends_at: datetime.datetime
    opt_in_starts_at: datetime.datetime
    opt_in_ends_at: datetime.datetime
    campaign_type: str = "promotion"
    optin_required: bool = False
    opt_in_limit: int | None = None
    division_id: str = DIVISIONS[0]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class OptIn(NamedTuple):
    """An opt-in that took effect."""

    campaign_id: int
    user_id: str


class Refusal(Refused):
    """A call that is answered with an error code."""

    def __init__(self, code: str, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.told_status = status


@dataclass
class _Rule:
    """Which calls are refused on demand."""

    operation: str
    code: str
    customer: str | None
    status: int | None
    times: int | None


class Asked(NamedTuple):
    """A call, understood.

    :param ids: the ids in its address, by name.
    """

    endpoint: Endpoint
    ids: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    fields: Mapping[str, Any]

    def values(self, name: str) -> list[str]:
        """The values of a query parameter, with and without the brackets of an array."""
        return [value for given, value in self.query if given.removesuffix("[]") == name.removesuffix("[]")]


class SessionMSandbox(SystemStandIn):
    """A SessionM on localhost, to try things out and for tests. A context manager, or ``start()`` and ``stop()``.

    Of each nine of its campaigns, which are numbered from 1, the first, ``campaigns[1]``, takes opt-ins; the second is
    a message, the seventh a promotion, both without opt-in; the opt-ins of the third have not started, those of the
    fourth are over, the fifth takes five; the sixth is a draft, the eighth paused and the ninth over. Customer number n
    is not eligible for campaign c where n + c ends in 0.

    What happened:

    * ``opt_ins``: every opt-in that took effect, in their order
    * ``created``: every campaign that was created, as it was sent

    What there is, to look at and to change: ``customers``, ``visitors`` (who have tokens only), ``campaigns`` by id.

    Switches, which may be set at any time:

    * ``states[campaign_id, user_id]``: the customer's state in a campaign, e.g. ``completed``
    * ``multi_org``: whether there are divisions; if not, ``division_ids`` is ignored and no ``division_id`` answered
    * ``error_statuses``: HTTP statuses by error code in lower case; 200 for a code that is not there
    * ``code_case``: makes another spelling of an error code, e.g. ``str.upper``
    * ``ignore_page``: whether every page is the first one
    * ``endless_pages``: whether ``number_of_pages`` is always beyond the page
    * ``drift``: whether numbers come as text

    :param port: port on 127.0.0.1; 0 takes a free one.
    :param customers: how many registered customers there are.
    :param api_key: the key it accepts.
    :param api_secret: that key's secret.
    :param now: the moment it takes for the present; None for the real one.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        customers: int = 1000,
        api_key: str = DEFAULT_CREDENTIALS[0],
        api_secret: str = DEFAULT_CREDENTIALS[1],
        now: datetime.datetime | None = None,
    ) -> None:
        super().__init__(port)
        self.api_key = api_key
        self.api_secret = api_secret
        self._now = now
        self.customers = [Customer(n, _made_up("user", n), customer_id(n), None) for n in range(customers)]
        self.visitors = [
            Customer(customers + n, _made_up("visitor", n), None, f"v2--visitor-{n}--==") for n in range(VISITORS)
        ]
        self.campaigns = {number: _campaign(number, self.now) for number in range(1, CAMPAIGNS + 1)}
        self.opt_ins: list[OptIn] = []
        self.created: list[dict[str, Any]] = []
        self.states: dict[tuple[int, str], str] = {}
        self.multi_org = True
        self.error_statuses = dict(STATUS_OF_CODE)
        self.code_case: Callable[[str], str] = str
        self.ignore_page = False
        self.endless_pages = False
        self.drift = False
        self._rules: list[_Rule] = []
        # The list would be searched in every call.
        self._opted_in: set[tuple[int, str]] = set()
        self._opt_ins_of: Counter[int] = Counter()
        everybody = [*self.customers, *self.visitors]
        self._by_id = {
            name: {value: customer for customer in everybody if (value := getattr(customer, name)) is not None}
            for name in CUSTOMER_IDS
        }

    @property
    def now(self) -> datetime.datetime:
        """The moment it takes for the present."""
        return self._now or datetime.datetime.now(datetime.UTC)

    @property
    def connection(self) -> str:
        """The Airflow connection that leads here, as JSON for ``AIRFLOW_CONN_…``."""
        fields = {"conn_type": "sessionm", "host": self.url, "login": self.api_key, "password": self.api_secret}
        return json.dumps(fields)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the record of calls does not hold."""
        return (self.api_key, self.api_secret, *(visitor.auth_token or "" for visitor in self.visitors))

    def refuse(
        self,
        operation: str,
        code: str,
        *,
        customer: str | None = None,
        status: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer calls with an error code; nothing of them takes effect.

        :param operation: e.g. ``opt_in``.
        :param code: e.g. ``opt_in_error``.
        :param customer: one of the customer's ids; None: everybody's calls.
        :param status: HTTP status; None: the usual one of the code.
        :param times: how many calls; None: all.
        :raises ValueError: there is no such operation.
        """
        if operation not in {endpoint.operation for endpoint in ENDPOINTS}:
            raise ValueError(f"there is no operation {operation}")
        with self.lock:
            self._rules.append(_Rule(operation, code, customer, status, times))

    def forgive(self) -> None:
        """End what :meth:`refuse` began."""
        with self.lock:
            self._rules.clear()

    # One call

    def _function_of(self, received: Received) -> str | None:
        asked = self._asked(received)
        return asked.endpoint.operation if asked else None

    def _asked(self, received: Received) -> Asked | None:
        found = list(addressed(received.verb, received.path, [name for name, _ in received.query]))
        if not found:
            return None
        # Where a permalink and an id share an address, a number that is a campaign's is its id.
        endpoint, ids = next((one for one in found if self._is_id(one[1].get("campaign_id"))), found[0])
        in_query = {name: value for name, value in received.query if name in endpoint.ids}
        return Asked(endpoint, {**ids, **in_query}, received.query, received.fields)

    def _is_id(self, text: str | None) -> bool:
        return text is not None and text.isdecimal() and int(text) in self.campaigns

    def _answer(self, function: str, received: Received) -> Reply:
        asked = self._asked(received)
        assert asked is not None
        self._authenticate(asked, received)
        with self.lock:
            self._obey_rules(asked)
            content = _ANSWERS[function](self, asked)
        return Reply(body=_encode(content, drift=self.drift))

    def _refusal(self, refused: Refused) -> Reply:
        if not isinstance(refused, Refusal):
            return super()._refusal(refused)
        errors = {"code": self.code_case(refused.code)} | ({"message": refused.text} if refused.text else {})
        status = refused.told_status or self.error_statuses.get(refused.code.lower(), 200)
        return Reply(status, _encode({"status": "error", "errors": errors}, drift=False))

    def _authenticate(self, asked: Asked, received: Received) -> None:
        scheme, _, encoded = received.headers.get("Authorization", "").partition(" ")
        try:
            key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            key = secret = ""
        known = [same(key, self.api_key), same(secret, self.api_secret), same(asked.ids["api_key"], self.api_key)]
        if scheme.lower() != "basic" or not all(known):
            raise Refusal(INVALID_API_KEY)

    def _obey_rules(self, asked: Asked) -> None:
        named: set[str | None] = set()
        for name in _customer_ids(asked):
            known = self._by_id[name].get(asked.ids[name])
            named |= {asked.ids[name]} if known is None else set(known[1:])
        for rule in self._rules:
            if rule.operation != asked.endpoint.operation or rule.times == 0:
                continue
            if rule.customer is None or rule.customer in named:
                rule.times = None if rule.times is None else rule.times - 1
                raise Refusal(rule.code, status=rule.status)

    # Who and what a call is about

    def _customer(self, asked: Asked) -> Customer:
        (name,) = _customer_ids(asked)
        customer = self._by_id[name].get(asked.ids[name])
        if customer is None:
            raise Refusal(USER_NOT_FOUND)
        return customer

    def _campaign(self, asked: Asked, code: str = NO_ACTIVE_CAMPAIGN_FOUND) -> Campaign:
        number, permalink = asked.ids.get("campaign_id", ""), asked.ids.get("permalink")
        found = self.campaigns.get(int(number)) if number.isdecimal() else None
        if permalink is not None:
            found = next((one for one in self.campaigns.values() if one.permalink == permalink), None)
        if found is None:
            raise Refusal(code)
        return found

    def _is_active(self, campaign: Campaign) -> bool:
        return campaign.status == "live" and campaign.starts_at <= self.now < campaign.ends_at

    def _is_eligible(self, customer: Customer, campaign: Campaign) -> bool:
        return self._state(customer, campaign) != "not_qualified"

    def _state(self, customer: Customer, campaign: Campaign) -> str:
        if (told := self.states.get((campaign.id, customer.user_id))) is not None:
            return told
        if (customer.number + campaign.id) % 10 == 0:
            return "not_qualified"
        if (campaign.id, customer.user_id) in self._opted_in:
            return "opted_in"
        if campaign.optin_required:
            return "qualified"
        return ("qualified", "in_progress", "completed")[(customer.number + campaign.id // 9) % 3]

    def _in_divisions(self, campaigns: Iterator[Campaign], divisions: Collection[str]) -> Iterator[Campaign]:
        filtered = self.multi_org and bool(divisions)
        return (campaign for campaign in campaigns if not filtered or campaign.division_id in divisions)

    def _division(self, campaign: Campaign) -> dict[str, str]:
        return {"division_id": campaign.division_id} if self.multi_org else {}

    # Operations

    def _create_campaign(self, asked: Asked) -> Any:
        sent = asked.fields.get("campaign")
        if not isinstance(sent, dict) or not sent:
            raise Refusal("missing_data", "Missing campaign data.")
        unknown = sorted(sent.keys() - CAMPAIGN_ATTRIBUTES.keys())
        if unknown:
            raise Refusal("argument_error", f"Unknown campaign attributes {', '.join(unknown)}.")
        division = sent.get("division_id", DIVISIONS[0])
        if division not in DIVISIONS:
            where = "in same organization" if division == FOREIGN_DIVISION else "found"
            raise Refusal("not_found", f"Parent model not {where}.")
        campaign = self._new_campaign(sent, division)
        self.campaigns[campaign.id] = campaign
        self.created.append(sent)
        return {"campaign": self._described(campaign), "status": "ok"}

    def _new_campaign(self, sent: Mapping[str, Any], division: str) -> Campaign:
        missing = [name for name in REQUIRED_ATTRIBUTES if not sent.get(name)]
        if missing:
            raise _invalid(f"{', '.join(missing)} can't be blank")
        permalink = str(sent.get("external_id") or sent.get("permalink") or uuid.uuid4())
        times = {name: _time_of(name, sent[name]) for name in sent if CAMPAIGN_ATTRIBUTES[name] == "time"}
        kind = sent.get("campaign_type", "promotion")
        for name, value, allowed in (
            ("status", sent["status"], STATUSES),
            ("campaign_type", kind, CAMPAIGN_TYPES),
            ("template", sent.get("template", kind), (kind,)),
        ):
            if value not in allowed:
                raise _invalid(f"{name} is not included in the list")
        if times["starts_at"] >= times["ends_at"]:
            raise _invalid("ends_at must be after starts_at")
        for other in self.campaigns.values():
            if other.name == sent["name"] or other.permalink == permalink:
                raise _invalid("name or external_id has already been taken")
        own = {"name", "status", "starts_at", "ends_at", "external_id", "permalink", "id"}
        return Campaign(
            id=max(self.campaigns, default=0) + 1,
            permalink=permalink,
            name=str(sent["name"]),
            status=sent["status"],
            starts_at=times["starts_at"],
            ends_at=times["ends_at"],
            opt_in_starts_at=times.get("opt_in_starts_at", times["starts_at"]),
            opt_in_ends_at=times.get("opt_in_ends_at", times["ends_at"]),
            campaign_type=kind,
            optin_required=bool(sent.get("optin_required")),
            division_id=division,
            attributes={name: value for name, value in sent.items() if name not in own},
        )

    def _opt_in(self, asked: Asked) -> Any:
        customer, campaign = self._customer(asked), self._campaign(asked)
        taking_part = campaign.optin_required and self._is_active(campaign)
        if not taking_part or not self._is_eligible(customer, campaign):
            raise Refusal("user_ineligible_for_campaign")
        if self.now < campaign.opt_in_starts_at:
            raise Refusal("opt_in_not_started")
        if self.now >= campaign.opt_in_ends_at:
            raise Refusal("opt_in_ended")
        if campaign.opt_in_limit is not None and self._opt_ins_of[campaign.id] >= campaign.opt_in_limit:
            raise Refusal("opt_in_limit_reached")
        opt_in = OptIn(campaign.id, customer.user_id)
        self.opt_ins.append(opt_in)
        self._opted_in.add(opt_in)
        self._opt_ins_of[campaign.id] += 1
        return self._v1_campaigns(customer, ())

    def _campaigns_of_customer(self, asked: Asked) -> Any:
        customer = self._customer(asked)
        if not any(map(self._is_active, self.campaigns.values())):
            raise Refusal(NO_ACTIVE_CAMPAIGN_FOUND)
        return self._v1_campaigns(customer, asked.values("division_ids"))

    def _v1_campaigns(self, customer: Customer, divisions: Collection[str]) -> Any:
        tiles: list[dict[str, Any]] = []
        promotions: list[dict[str, Any]] = []
        for campaign in self._in_divisions(filter(self._is_active, self.campaigns.values()), divisions):
            if self._is_eligible(customer, campaign):
                in_list = tiles if campaign.campaign_type == "messaging" else promotions
                in_list.append(self._v1_campaign(customer, campaign))
        return {"status": "ok", "campaigns": {"tiles": tiles, "promotions": promotions}}

    def _v1_campaign(self, customer: Customer, campaign: Campaign) -> dict[str, Any]:
        creative = 3000 + campaign.id
        if campaign.campaign_type == "messaging":
            stat = _made_up("stat", campaign.id, customer.number)
            seen = f"{self.url}/api/v1/apps/{self.api_key}/creatives/{creative}/stats/{stat}/seen/track"
            template: dict[str, Any] = {
                "type": "internal_tile",
                "message": {"points": 0},
                "action": {
                    "tracking_urls": [f"{seen}?auth_token={customer.auth_token or ''}&locale=en-us"],
                    "event_meta_data": {"ad_unit_id": creative, "ad_stat_id": stat},
                },
            }
        else:
            template = {"type": "internal_full_page", "html_payload": self._page_of(customer, creative)}
        state = self._state(customer, campaign)
        progress: dict[str, Any] = {"state": state}
        if state == "in_progress":
            progress["behaviors"] = _behaviors_array(campaign)
        return {
            "campaign_id": campaign.id,
            "name": campaign.name,
            "group_id": 2000 + campaign.id,
            "creative_id": creative,
            "start_date": _plain(campaign.starts_at),
            "end_date": _plain(campaign.ends_at),
            "opt_in_starts_at": _plain(campaign.opt_in_starts_at),
            "opt_in_ends_at": _plain(campaign.opt_in_ends_at),
            "permalink": campaign.permalink,
            "template": template,
            "progress": progress,
            "behaviors": _behaviors_object(campaign) if state == "in_progress" else {},
            "version": 2,
            **self._division(campaign),
        }

    def _page_of(self, customer: Customer, creative: int) -> str:
        return f"{self.url}/apps/{self.api_key}/users/{customer.user_id}/ads/{creative}"

    def _progress(self, asked: Asked) -> Any:
        customer, campaign = self._customer(asked), self._campaign(asked, "no_campaign_found")
        state = self._state(customer, campaign)
        return {
            "status": "ok",
            "campaign": {
                **_opted(state),
                "state": state,
                "behaviors": _behaviors_array(campaign),
                **self._division(campaign),
            },
        }

    def _eligible_campaigns(self, asked: Asked) -> Any:
        customer = self._customer(asked)
        number, size = _number(asked.values("page"), 1), _number(asked.values("page_size"), DEFAULT_PAGE_SIZE)
        begin = 0 if self.ignore_page else (number - 1) * size
        page = list(self.campaigns.values())[begin : begin + size]
        # The page is cut out before it is filtered.
        active = self._in_divisions(filter(self._is_active, page), asked.values("division_ids"))
        return {
            "page": 1 if self.ignore_page else number,
            "page_size": size,
            "number_of_pages": number + 1 if self.endless_pages else max(1, -(-len(self.campaigns) // size)),
            "status": "ok",
            "campaigns": [
                self._v2_campaign(customer, campaign, asked)
                for campaign in active
                if self._passes(customer, campaign, asked.values("filters") or ["eligible"])
            ],
        }

    def _passes(self, customer: Customer, campaign: Campaign, filters: Collection[str]) -> bool:
        eligible = "eligible" if self._is_eligible(customer, campaign) else "ineligible"
        return "all" in filters or eligible in filters

    def _campaign_of_customer(self, asked: Asked) -> Any:
        customer, campaign = self._customer(asked), self._campaign(asked)
        if not self._passes(customer, campaign, asked.values("filters") or ["all"]):
            raise Refusal(NO_ACTIVE_CAMPAIGN_FOUND)
        answer = self._v2_campaign(customer, campaign, asked)
        # With both internal ids it is wrapped; by the three other forms it comes bare, and has a status of its own.
        return {"status": "ok", "campaign": answer} if asked.endpoint.ids == {"user_id", "campaign_id"} else answer

    def _v2_campaign(self, customer: Customer, campaign: Campaign, asked: Asked) -> dict[str, Any]:
        state, sections = self._state(customer, campaign), asked.values("sections")
        answer = {
            "campaign_id": campaign.id,
            "campaign_permalink": campaign.permalink,
            "ends_at": _plain(campaign.ends_at),
            "name": campaign.name,
            "opt_in_ends_at": _plain(campaign.opt_in_ends_at),
            "opt_in_starts_at": _plain(campaign.opt_in_starts_at),
            **_opted(state),
            "qualified": state != "not_qualified",
            "starts_at": _plain(campaign.starts_at),
            "status": state,
            **self._division(campaign),
        }
        if "progress" in sections:
            answer["progress"] = {"state": state}
        if "behaviors" in sections:
            answer["behaviors"] = _behaviors_object(campaign)
        if "offers" in sections:
            answer["offers"] = [_offer(campaign)]
        if "redemptions" in sections:
            answer["redemptions"] = []
        kind, creative = "tile" if campaign.campaign_type == "messaging" else "promotion", 3000 + campaign.id
        if kind in asked.values("creatives"):
            page = self._page_of(customer, creative)
            tile = {
                "message": {"header": campaign.name, "points": 20},
                "action": {"type": "open_ad", "url": page, "tracking_urls": [f"{page}/seen"]},
            }
            answer["creative"] = {
                kind: tile if kind == "tile" else {"type": "internal_full_page", "html_payload": page}
            }
        return answer

    def _active_campaigns(self, asked: Asked) -> Any:
        divisions = asked.values("division_ids")
        if not self.campaigns:
            raise Refusal("missing_data", "Missing campaign data.")
        if "" in divisions:
            raise _invalid("division_ids can't be blank")
        if self.multi_org and not set(divisions) <= set(DIVISIONS):
            raise Refusal("not_found", "Parent model not found.")
        active = self._in_divisions(filter(self._is_active, self.campaigns.values()), divisions)
        return {"status": "ok", "campaigns": [self._described(campaign) for campaign in active]}

    def _described(self, campaign: Campaign) -> dict[str, Any]:
        return {
            "id": campaign.id,
            "external_id": campaign.permalink,
            "name": campaign.name,
            "starts_at": _iso(campaign.starts_at),
            "ends_at": _iso(campaign.ends_at),
            "status": campaign.status,
            "weight": 5,
            "total_budget": 0,
            "campaign_type": campaign.campaign_type,
            "template": campaign.campaign_type,
            "metadata": {},
            **campaign.attributes,
            **self._division(campaign),
        }

    def _campaign_info(self, asked: Asked) -> Any:
        campaign = self._campaign(asked)
        return {
            "status": "ok",
            "campaign": {
                "campaign_id": campaign.id,
                "permalink": campaign.permalink,
                "starts_at": _plain(campaign.starts_at),
                "ends_at": _plain(campaign.ends_at),
                "optin_required": campaign.optin_required,
                "opt_in_starts_at": _plain(campaign.opt_in_starts_at),
                "opt_in_ends_at": _plain(campaign.opt_in_ends_at),
                **self._division(campaign),
            },
        }


_ANSWERS: Mapping[str, Callable[[SessionMSandbox, Asked], Any]] = {
    "create_campaign": SessionMSandbox._create_campaign,
    "opt_in": SessionMSandbox._opt_in,
    "campaigns_of_customer": SessionMSandbox._campaigns_of_customer,
    "progress": SessionMSandbox._progress,
    "eligible_campaigns": SessionMSandbox._eligible_campaigns,
    "campaign_of_customer": SessionMSandbox._campaign_of_customer,
    "active_campaigns": SessionMSandbox._active_campaigns,
    "campaign_info": SessionMSandbox._campaign_info,
}

_PATTERNS = [
    (endpoint, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", endpoint.path.partition("?")[0])))
    for endpoint in ENDPOINTS
]


def addressed(verb: str, path: str, query: Collection[str]) -> Iterator[tuple[Endpoint, dict[str, str]]]:
    """The addresses that a call can mean, each with the ids in its path.

    :param verb: HTTP verb.
    :param path: as it was sent, without the query.
    :param query: the names in the query.
    """
    for endpoint, pattern in _PATTERNS:
        found = pattern.fullmatch(path)
        in_query = endpoint.ids - pattern.groupindex.keys()
        if found and verb == endpoint.verb and in_query <= set(query):
            yield endpoint, {name: unquote(value) for name, value in found.groupdict().items()}


def _customer_ids(asked: Asked) -> list[str]:
    return [name for name in CUSTOMER_IDS if name in asked.ids]


def _campaign(number: int, now: datetime.datetime) -> Campaign:
    now = now.replace(microsecond=0)
    kind = (number - 1) % 9 + 1
    begin, end = now - 10 * DAY, now + 30 * DAY
    campaign = Campaign(
        id=number,
        permalink=_made_up("campaign", number),
        name=f"Campaign {number}",
        status={6: "draft", 8: "paused", 9: "completed"}.get(kind, "live"),
        starts_at=begin,
        ends_at=now - DAY if kind == 9 else end,
        opt_in_starts_at=now + DAY if kind == 3 else begin,
        opt_in_ends_at=now - DAY if kind == 4 else end,
        campaign_type="messaging" if kind == 2 else "promotion",
        optin_required=kind in (1, 3, 4, 5),
        opt_in_limit=LIMITED_OPT_INS if kind == 5 else None,
        division_id=DIVISIONS[number % 2],
    )
    tag = f"campaign_{number}"
    targeting = {"$and": [{"user.tags": {"$in": [tag]}}]}
    campaign.attributes = {"metadata": {"campaign_version": 2}, "targeting": targeting, "qualify_tag": tag}
    return campaign


def _opted(state: str) -> dict[str, bool]:
    return {"opted_in": state == "opted_in"} if state in ("opted_in", "opted_out") else {}


def _behaviors_array(campaign: Campaign) -> list[dict[str, Any]]:
    return [
        {
            "behavior_id": 500 + campaign.id,
            "external_behavior_id": _made_up("behavior", campaign.id),
            "event_name": f"campaigns.{campaign.id}.loaded",
            "name": f"{campaign.name} action",
            "progress": 0,
            "goal": 1,
        }
    ]


def _behaviors_object(campaign: Campaign) -> dict[str, Any]:
    counted = {
        "event_name": f"campaigns.{campaign.id}.loaded",
        "type": "count",
        "points": 5,
        "max_times_repeatable": None,
        "max_times_repeatable_per_period": 1,
        "period": 86_400,
        "min_time_between_events": None,
        "consecutive": False,
        "achieved": 0,
        "current_count": 0,
        "total_count": 1,
    }
    return {f"{campaign.name.lower()} action": counted}


def _offer(campaign: Campaign) -> dict[str, Any]:
    deal = {"id": _made_up("deal", campaign.id), "offer_type_id": "percent_discount", "percent": 10.0, "points": 200}
    return {
        "offer_id": campaign.id,
        "name": f"Offer {campaign.id}",
        "type": "deal",
        "total_available": 100,
        "deal": deal,
    }


def _made_up(*names: object) -> str:
    return str(uuid.uuid5(MADE_UP, " ".join(map(str, names))))


def _invalid(message: str) -> Refusal:
    return Refusal("validation", f"Validation error: {message}.")


def _time_of(name: str, value: Any) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _invalid(f"{name} is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _plain(moment: datetime.datetime) -> str:
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S}"


def _iso(moment: datetime.datetime) -> str:
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _number(given: Sequence[str], default: int) -> int:
    return max(1, int(given[0])) if given and given[0].isdecimal() else default


def _encode(content: Any, *, drift: bool) -> bytes:
    return json.dumps(_as_text(content) if drift else content, ensure_ascii=False).encode()


def _as_text(content: Any) -> Any:
    match content:
        case bool():
            return content
        case int():
            return str(content)
        case dict():
            return {name: _as_text(value) for name, value in content.items()}
        case list():
            return [_as_text(item) for item in content]
        case _:
            return content
