"""What goes over the wire to SessionM and what an answer means. Values in, values out: nothing is sent from here."""

from __future__ import annotations

import datetime
import difflib
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

import msgspec

from airflow_provider_optimove.clients.answers import (
    BYTE_ORDER_MARK,
    Operation,
    again_or_doubt,
    clipped,
    explanation,
    retry_after,
    success_of,
)
from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, HttpRequest, TryAgain, is_unicode
from airflow_provider_optimove.clients.sessionm.endpoints import (
    CAMPAIGN_ATTRIBUTES,
    CAMPAIGN_IDS,
    CAMPAIGN_NOT_FOUND,
    CAMPAIGN_TYPES,
    CREATIVES,
    CUSTOMER_IDS,
    DOCUMENTED_CODES,
    ENDPOINTS,
    FILTERS,
    INVALID_API_KEY,
    REQUIRED_ATTRIBUTES,
    SECTIONS,
    STATUSES,
    Endpoint,
    endpoint_for,
)
from airflow_provider_optimove.clients.sessionm.values import attribute_of
from airflow_provider_optimove.exceptions import OptimoveInputError, SessionMError

T = TypeVar("T")

TWICE = {"create_campaign": "create a second campaign", "opt_in": "opt in twice"}
OPERATIONS: Mapping[str, Operation] = {
    endpoint.operation: Operation(
        "SessionM", endpoint.operation, repeatable=not endpoint.writes, twice=TWICE.get(endpoint.operation, "")
    )
    for endpoint in ENDPOINTS
}

# "Opt in failed for unknown reason": the next time it may not. Nothing else that is refused passes by itself.
PASSING_CODES = {"opt_in_error"}

NOT_JSON = object()
BEGIN_OF_DATA = re.compile(rb"\s*(?:\[\s*)?{\s*\"")
AUTH_TOKEN = re.compile(rb"(auth_token(?:=|%3D))[^&\s\"'<\\]+", re.IGNORECASE)
ALLOWED = {"sections[]": SECTIONS, "filters[]": FILTERS, "creatives[]": CREATIVES}
PAIRS = (("starts_at", "ends_at"), ("opt_in_starts_at", "opt_in_ends_at"))
IDS_OF_NEW_CAMPAIGNS = ("external_id", "permalink")
SENT_TIME = "%Y-%m-%dT%H:%M:%SZ"
# More campaigns may be created while they are read, but not that many.
MOST_PAGES_MORE = 100


class Told(NamedTuple):
    """What SessionM says of an error.

    :param code: its word for the reason, as it was answered; None where it has none.
    :param words: what it says besides.
    """

    code: str | None
    words: str


# Requests


def request_of(
    operation: str,
    ids: Mapping[str, Any],
    *,
    api_key: str,
    query: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
) -> HttpRequest:
    """The request of a call.

    :param operation: what is called.
    :param ids: what the caller gave for each id that the operation could take; None where it was not given.
    :param api_key: stands in the address.
    :param query: values by the query's names; lists are sent as repeated parameters, and empty ones not at all.
    :param body: of a POST.
    :raises OptimoveInputError: an id is missing, given twice, or cannot be sent; a value is not allowed.
    """
    problems: list[str] = []
    given = {name: value for name, value in ids.items() if value is not None}
    for kinds, whose in ((CUSTOMER_IDS, "the customer"), (CAMPAIGN_IDS, "the campaign")):
        possible = [name for name in kinds if name in ids]
        chosen = [name for name in possible if name in given]
        if possible and len(chosen) != 1:
            found = f"got {' and '.join(chosen)}" if chosen else "got none"
            problems.append(f"{', '.join(possible)}: expected exactly one, which tells {whose}; {found}")
    texts = {name: _id_text(name, value, problems) for name, value in given.items()}
    parameters = [pair for name, value in (query or {}).items() for pair in _query(name, value, problems)]
    _check(operation, problems)
    endpoint = endpoint_for(operation, texts)
    path, in_query = _address(endpoint, {**texts, "api_key": api_key})
    content = None if body is None else msgspec.json.encode(body)
    # Ids of customers may be e-mail addresses.
    return HttpRequest(endpoint.verb, path, (*in_query, *parameters), content, shown=endpoint.path)


def _address(endpoint: Endpoint, ids: Mapping[str, str]) -> tuple[str, list[tuple[str, str]]]:
    path, _, in_query = endpoint.path.partition("?")
    filled = path.format(**{name: quote(text, safe="") for name, text in ids.items()})
    return filled.lstrip("/"), [(name, ids[name]) for name in re.findall(r"{(\w+)}", in_query)]


def _id_text(name: str, value: Any, problems: list[str]) -> str:
    # A token is an id too, so the value is not shown.
    text = _text(value)
    if text is None:
        problems.append(f"{name}: expected a text or a whole number, got {type(value).__name__}")
    elif not text.strip():
        problems.append(f"{name}: is empty")
    elif name == "campaign_id" and not re.fullmatch(r"[0-9]+", text):
        problems.append("campaign_id: expected a whole number; any other id of a campaign is its permalink")
    elif text in (".", ".."):
        problems.append(f"{name}: {text} cannot stand in an address")
    elif not is_unicode(text):
        problems.append(f"{name}: holds half of a surrogate pair, which is no character")
    return text or ""


def _query(name: str, value: Any, problems: list[str]) -> Iterator[tuple[str, str]]:
    argument = name.removesuffix("[]")
    if value is None:
        return
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    texts = list(dict.fromkeys(map(_text, several)))
    allowed = ALLOWED.get(name)
    for text in texts:
        if text is None:
            problems.append(f"{argument}: expected texts or whole numbers, got {value!r}")
        elif allowed is not None and text not in allowed:
            problems.append(f"{argument}: expected {', '.join(filter(None, allowed))}, got {text!r}")
        elif allowed is None and not text.strip():
            problems.append(f"{argument}: is empty")
        elif allowed is None and (text.strip() == "None" or text.lstrip()[:1] in ("[", "(")):
            problems.append(f"{argument}: expected texts or whole numbers, got text of something else: {text!r}")
        elif name == "page_size" and not re.fullmatch(r"[1-9][0-9]*", text):
            problems.append(f"page_size: expected a whole number above 0, got {text}")
        else:
            yield name, text
    if "" in texts and len(texts) > 1:
        problems.append(f"{argument}: an empty one stands for none, so there can be no other")


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def campaign_to_create(campaign: Mapping[str, Any]) -> dict[str, Any]:
    """A campaign as it is sent: checked, times in UTC, and with an ``external_id``, if need be a new one.

    Attributes that the document does not name are sent all the same: accounts differ, and SessionM refuses what it does
    not know (``argument_error``) before anything happens.

    :param campaign: the attributes by SessionM's names. Times are aware datetimes, datetimes or ISO texts in UTC; texts
        that say a number, ``true`` or ``false`` or are an object in JSON are sent as what they say, where it is one.
    :raises OptimoveInputError: an attribute is missing or not valid.
    """
    operation = "create_campaign"
    if not isinstance(campaign, Mapping):
        raise OptimoveInputError(f"campaign: expected a mapping, got {type(campaign).__name__}", function=operation)
    problems: list[str] = []
    sent = {str(name): value for name, value in campaign.items() if value is not None}
    wrong = {name for name in REQUIRED_ATTRIBUTES if not str(sent.get(name, "")).strip()}
    unknown = [name for name in sent if name not in CAMPAIGN_ATTRIBUTES]
    problems += [f"{name}: missing{_misspelt(name, unknown)}" for name in REQUIRED_ATTRIBUTES if name in wrong]
    for name in IDS_OF_NEW_CAMPAIGNS:
        if sent.get(name, "") != "":
            sent[name] = _id_text(name, sent[name], problems)
            if sent[name].strip() == "None":
                problems.append(f"{name}: expected an id, got 'None', which a template makes of nothing")
    moments: dict[str, datetime.datetime] = {}
    for name in [name for name in sent if name not in (*wrong, *IDS_OF_NEW_CAMPAIGNS)]:
        try:
            sent[name] = _attribute(name, sent[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
            wrong.add(name)
        if isinstance(sent[name], datetime.datetime):
            moments[name] = sent[name]
    sent |= {name: f"{moment:{SENT_TIME}}" for name, moment in moments.items()}
    for name, allowed in (("status", STATUSES), ("campaign_type", CAMPAIGN_TYPES), ("template", CAMPAIGN_TYPES)):
        if sent.get(name, "") not in ("", *allowed) and name not in wrong:
            problems.append(f"{name}: expected {', '.join(allowed)}, got {sent[name]!r}")
    if len({sent[name] for name in ("campaign_type", "template") if sent.get(name) in CAMPAIGN_TYPES}) == 2:
        problems.append("template: expected the same as campaign_type")
    for begin, end in PAIRS:
        if begin in moments and end in moments and moments[begin] >= moments[end]:
            problems.append(f"{end}: expected a time after {begin}")
    if not sent.get("external_id"):
        sent["external_id"] = sent.get("permalink") or str(uuid.uuid4())
    if not problems:
        try:
            msgspec.json.encode(sent)
        except (TypeError, ValueError) as error:
            problems.append(f"holds what cannot be sent: {error}")
    _check(operation, problems, "the campaign is not valid")
    return sent


def _misspelt(name: str, unknown: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, unknown, n=1)
    return f"; is {close[0]!r} a misspelling of it?" if close else ""


def _attribute(name: str, value: Any) -> Any:
    kind = CAMPAIGN_ATTRIBUTES.get(name)
    if isinstance(value, datetime.datetime) and kind in ("text", None):
        kind = "time"
    return value if kind is None else attribute_of(kind, value)


def times_that_differ(sent: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Which times tell that a campaign is another one.

    :param sent: a campaign as it was sent.
    :param found: what SessionM answers about a campaign, with times in the one or the other form.
    :returns: each with the time there and the one that was sent.
    """
    differ = []
    for name in ("starts_at", "ends_at"):
        try:
            there = f"{attribute_of('time', found.get(name)):{SENT_TIME}}"
        except ValueError:
            continue
        if there != sent[name]:
            differ.append(f"{name} is {there} in SessionM, and {sent[name]} here")
    return differ


def _check(operation: str, problems: Collection[str], message: str = "the arguments are not valid") -> None:
    if problems:
        raise OptimoveInputError(message, function=operation, problems=list(problems))


# Answers


def answer_of(
    operation: str,
    outcome: HttpAnswer | ConnectionFailure,
    part: Callable[[Any], T | None],
    ids: Mapping[str, Any] | None = None,
) -> T:
    """What an outcome means for the caller.

    Only an object whose ``status`` is ``error`` is an error; a bare campaign has a status of its own.

    :param operation: what was called.
    :param outcome: the answer, or that there was none.
    :param part: takes what is wanted out of a decoded answer; returns None where it is not there.
    :param ids: what was given for each id; an error names the campaign that SessionM does not find.
    :raises TryAgain: the call may be repeated: nothing happened, or it only reads.
    :raises SessionMError: whatever repeating does not mend.
    """
    called = OPERATIONS[operation]
    if isinstance(outcome, HttpAnswer):
        content = _decoded(outcome)
        if _told_in(content) is None and outcome.status < 300 and (wanted := part(content)) is not None:
            return wanted
        # From here on it is about an error, and what SessionM answers is full of addresses with tokens.
        outcome = replace(outcome, body=AUTH_TOKEN.sub(rb"\1***", outcome.body))
        told = _told_in(_decoded(outcome))
        if told is not None:
            _raise_told(called, outcome, told, ids or {})
        if not 200 <= outcome.status < 300:
            outcome = _without_data(outcome)
    raise _unexpected(called, success_of(called, outcome, SessionMError))


def _decoded(answer: HttpAnswer) -> Any:
    """The JSON of an answer; NOT_JSON where it is something else."""
    try:
        return msgspec.json.decode(answer.body.removeprefix(BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOT_JSON


def _told_in(content: Any) -> Told | None:
    """The error in an answer, whatever its HTTP status; None where there is none."""
    if not isinstance(content, Mapping) or str(content.get("status")).lower() != "error":
        return None
    errors = content.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else errors
    if not isinstance(first, Mapping):
        return Told(first if isinstance(first, str) and first else None, "")
    code = first.get("code")
    words = [str(first[name]) for name in ("message", "reason", "detail") if first.get(name)]
    return Told(None if code is None else str(code), ": ".join(words))


def _without_data(answer: HttpAnswer) -> HttpAnswer:
    """The answer of an error, with words in place of JSON that explains nothing: it may hold campaigns or customers."""
    size, content = f"{len(answer.body):,} bytes", _decoded(answer)
    if content is NOT_JSON:
        said = f"JSON that breaks off after {size}" if BEGIN_OF_DATA.match(answer.body) else None
    else:
        said = f"{_kind_of(content)} of about {size}" if explanation(answer.body).data is not None else None
    return answer if said is None else replace(answer, body=said.encode())


def _kind_of(content: Any) -> str:
    """What JSON is, in words that do not show it."""
    kinds: Mapping[type, str] = {dict: "a JSON object", list: "a JSON array"}
    return kinds.get(type(content), "a JSON value")


def _raise_told(operation: Operation, answer: HttpAnswer, told: Told, ids: Mapping[str, Any]) -> NoReturn:
    status, code = answer.status, (told.code or "").lower()
    message = f"SessionM answered {clipped(told.code or 'an error without a code')}"
    if code in {not_found.lower() for not_found in CAMPAIGN_NOT_FOUND}:
        campaign = [f"{name} {clipped(str(ids[name]))}" for name in CAMPAIGN_IDS if ids.get(name) is not None]
        message = " for ".join((message, *campaign))
    if told.words:
        message = f"{message}: {clipped(told.words)}"
    if status == 401 or code == INVALID_API_KEY.lower():
        message = f"{message}; are the API key and its secret right?"
    too_many = status == 429
    failed = status >= 500 and code not in DOCUMENTED_CODES
    refused = not failed and not too_many
    error = SessionMError(
        message,
        function=operation.name,
        status=status,
        permanent=refused and code not in PASSING_CODES,
        refused=refused,
    )
    error.code = told.code
    if too_many:
        raise TryAgain(error, retry_after(answer))
    if failed:
        # Not a refusal that is known, and the server failed: a write may have happened.
        again_or_doubt(operation, error, happened=True, after=retry_after(answer))
    raise error


def _unexpected(operation: Operation, answer: HttpAnswer) -> SessionMError:
    """The error of a success that does not hold what was wanted; or raises what again_or_doubt makes of it."""
    content = _decoded(answer)
    words = explanation(answer.body)
    broken_off = content is NOT_JSON and answer.body.lstrip()[:1] in (b"{", b"[")
    if broken_off:
        message = f"the answer broke off after {len(answer.body):,} bytes, or is not JSON"
    else:
        said = words.text or "nothing"
        shown = f"an HTML page ({said})" if words.is_html else said
        if content is not NOT_JSON:
            # Not itself: it may hold customers' data.
            shown = f"{_kind_of(content)} of about {len(answer.body):,} bytes"
        message = f"expected {WANTED[operation.name]}, and SessionM answered: {shown}"
    error = SessionMError(message, function=operation.name, status=answer.status)
    if broken_off or not operation.repeatable:
        again_or_doubt(operation, error, happened=True)
    return error


WANTED = {
    "create_campaign": "the campaign with its id",
    "opt_in": "the customer's campaigns",
    "campaigns_of_customer": "the customer's campaigns",
    "progress": "the customer's progress",
    "eligible_campaigns": "a page of campaigns",
    "campaign_of_customer": "the campaign",
    "active_campaigns": "campaigns",
    "campaign_info": "the campaign",
}
OF_A_CAMPAIGN = {"campaign_id", "id", "state", "permalink", "campaign_permalink"}


def campaign_in(content: Any) -> dict[str, Any] | None:
    """The campaign of an answer, which may be wrapped or bare."""
    if not isinstance(content, Mapping):
        return None
    campaign = content.get("campaign", content if OF_A_CAMPAIGN & content.keys() else None)
    return campaign if isinstance(campaign, dict) else None


def created_campaign_in(content: Any) -> dict[str, Any] | None:
    """The campaign that was created; None where it has no id."""
    campaign = campaign_in(content)
    return campaign if campaign and id_of_campaign(campaign) is not None else None


def id_of_campaign(campaign: Mapping[str, Any]) -> Any:
    """SessionM's number of a campaign, which some answers call ``id`` and others ``campaign_id``."""
    return campaign.get("id", campaign.get("campaign_id"))


def campaigns_by_kind_in(content: Any) -> dict[str, Any] | None:
    """The object with ``tiles`` and ``promotions``."""
    campaigns = content.get("campaigns") if isinstance(content, Mapping) else None
    return campaigns if isinstance(campaigns, dict) else None


def opted_in_by(content: Any) -> dict[str, Any] | None:
    """The campaigns that come with a successful opt-in, which is one without them too."""
    campaigns = campaigns_by_kind_in(content)
    succeeded = isinstance(content, Mapping) and content.get("status") == "ok"
    return {"tiles": [], "promotions": []} if campaigns is None and succeeded else campaigns


def campaigns_in(content: Any) -> list[dict[str, Any]] | None:
    """The campaigns of an answer."""
    campaigns = content.get("campaigns") if isinstance(content, Mapping) else None
    fits = isinstance(campaigns, list) and all(isinstance(campaign, dict) for campaign in campaigns)
    return campaigns if fits else None


def campaign_rows(campaigns: Mapping[str, Any], customer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row a campaign of what ``campaigns_of_customer`` and ``opt_in`` return.

    :param campaigns: the object with ``tiles`` and ``promotions``.
    :param customer: what goes in front of each row, such as ``{"user_id": "…"}``.
    :returns: the campaigns as they came, each after the customer's id and its ``kind``: ``tile`` or ``promotion``, or
        the name of another list as SessionM has it.
    """
    for name, of_kind in campaigns.items():
        kind = {"tiles": "tile", "promotions": "promotion"}.get(name, name)
        for campaign in of_kind if isinstance(of_kind, list) else ():
            yield {**customer, "kind": kind, **campaign}


# Pages


class Page(NamedTuple):
    """A page of campaigns.

    :param campaigns: those of it; none may be left after filtering.
    :param number: which page it says it is; None: it says nothing.
    :param pages: how many there are.
    """

    campaigns: list[dict[str, Any]]
    number: int | None
    pages: int


def page_in(content: Any) -> Page | None:
    """The page in an answer."""
    campaigns = campaigns_in(content)
    pages = _whole_number(content.get("number_of_pages")) if isinstance(content, Mapping) else None
    return None if campaigns is None or pages is None else Page(campaigns, _whole_number(content.get("page")), pages)


class PagingIgnoredError(Exception):
    """The server does not page as its document says: campaigns would come twice, be missing, or come for ever."""


class Paging:
    """Which page comes next. A page may be short or empty: SessionM cuts it out before it filters.

    ``number`` is the page to ask for, ``finished`` whether there is none.
    """

    def __init__(self) -> None:
        self.number = 1
        self.finished = False
        self._most = 0
        self._checksum_before: int | None = None

    def received(self, page: Page, checksum: int) -> None:
        """Go on to the next one.

        :param page: what came.
        :param checksum: of the whole answer.
        :raises PagingIgnoredError: it is not the page that was asked for, or there is no end.
        """
        if page.number not in (None, self.number):
            raise PagingIgnoredError(f"page {self.number} was asked for, and page {page.number} came")
        if page.campaigns and checksum == self._checksum_before:
            raise PagingIgnoredError(f"page {self.number} is the same as the one before")
        self._most = self._most or 2 * page.pages + MOST_PAGES_MORE
        if page.pages > self._most:
            raise PagingIgnoredError(f"there is no end of pages: at page {self.number:,} there are {page.pages:,}")
        self._checksum_before = checksum
        self.finished = self.number >= page.pages
        self.number += 1


def _whole_number(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None
