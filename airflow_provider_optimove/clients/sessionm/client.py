"""SessionMClient: the one place that speaks HTTP to SessionM."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from requests.auth import HTTPBasicAuth

from airflow_provider_optimove.clients.calls import Fetched, SystemClient, SystemSettings
from airflow_provider_optimove.clients.http import HttpRequest
from airflow_provider_optimove.clients.sessionm import protocol
from airflow_provider_optimove.exceptions import SessionMError

log = logging.getLogger(__name__)

T = TypeVar("T")

Campaign = dict[str, Any]


@dataclass(frozen=True)
class SessionMSettings(SystemSettings):
    """An account and how to reach it.

    :param api_key: the API key, also a part of each address.
    :param api_secret: its secret.
    """

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)

    @property
    def secrets(self) -> list[str]:
        """Key and secret, also as the Authorization header has them."""
        in_header = base64.b64encode(f"{self.api_key}:{self.api_secret}".encode()).decode()
        return [self.api_key, self.api_secret, in_header]


class SessionMOperations:
    """The operations of the Campaigns API, one method each; the kind of an id is an argument.

    Ids are texts or whole numbers. ``campaign_id`` is SessionM's number of a campaign, ``permalink`` its other id, also
    called ``external_id`` in answers. Campaigns come as SessionM sent them.

    Every method can raise :class:`OptimoveInputError` (before anything is sent) and :class:`SessionMError`, whose
    ``code`` is SessionM's.
    """

    @property
    def _speaker(self) -> SessionMClient:
        """Who sends."""
        raise NotImplementedError

    def create_campaign(self, campaign: Mapping[str, Any]) -> Campaign:
        """Create a campaign. It is never sent a second time when it may have been created.

        :param campaign: its attributes; ``name`` (unique), ``status``, ``starts_at`` and ``ends_at`` are needed. Times
            are datetimes (UTC where they are naive) or ISO texts. Without an ``external_id`` one is made, so that
            :meth:`campaign_info` can tell whether a campaign in doubt was created.
        :returns: the campaign with its ``id`` and ``external_id``.
        """
        return self._speaker._create(campaign)

    def opt_in(
        self, campaign_id: int | str, *, user_id: str | int | None = None, external_id: str | int | None = None
    ) -> dict[str, Any]:
        """Opt a customer into a campaign. It is never sent a second time when it may have happened.

        :param campaign_id: the campaign, which must require opt-ins.
        :param user_id: the customer, by SessionM's id.
        :param external_id: the customer, by an id of another system.
        :returns: the customer's campaigns, as :meth:`campaigns_of_customer` does.
        """
        ids = {"campaign_id": campaign_id, "user_id": user_id, "external_id": external_id}
        return self._speaker._call("opt_in", ids, protocol.opted_in_by)

    def campaigns_of_customer(
        self,
        *,
        user_id: str | int | None = None,
        external_id: str | int | None = None,
        auth_token: str | None = None,
        division_ids: Iterable[str | int] = (),
    ) -> dict[str, Any]:
        """All campaigns of a customer.

        :param user_id: the customer, by SessionM's id.
        :param external_id: the customer, by an id of another system.
        :param auth_token: a customer who is not registered.
        :param division_ids: only campaigns of these divisions.
        :returns: ``{"tiles": […], "promotions": […]}``; :func:`protocol.campaign_rows` makes rows of it.
        """
        ids = {"user_id": user_id, "external_id": external_id, "auth_token": auth_token}
        query = {"division_ids": division_ids}
        return self._speaker._call("campaigns_of_customer", ids, protocol.campaigns_by_kind_in, query)

    def progress(
        self,
        *,
        campaign_id: int | str | None = None,
        permalink: str | None = None,
        user_id: str | int | None = None,
        external_id: str | int | None = None,
        auth_token: str | None = None,
    ) -> Campaign:
        """A customer's progress in a campaign, also after its end.

        :param campaign_id: the campaign, by SessionM's number.
        :param permalink: the campaign, by its permalink.
        :param user_id: the customer, by SessionM's id.
        :param external_id: the customer, by an id of another system.
        :param auth_token: a customer who is not registered.
        :returns: ``state``, ``behaviors``, and ``opted_in`` of who opted in or out.
        """
        ids = {
            "campaign_id": campaign_id,
            "permalink": permalink,
            "user_id": user_id,
            "external_id": external_id,
            "auth_token": auth_token,
        }
        return self._speaker._call("progress", ids, protocol.campaign_in)

    def eligible_campaigns(
        self,
        *,
        user_id: str | int | None = None,
        external_id: str | int | None = None,
        sections: Iterable[str] = (),
        filters: Iterable[str] = (),
        creatives: Iterable[str] = (),
        division_ids: Iterable[str | int] = (),
        page_size: int | None = None,
    ) -> Iterator[Campaign]:
        """The active campaigns that a customer is eligible for, from all pages.

        :param user_id: the customer, by SessionM's id.
        :param external_id: the customer, by an id of another system.
        :param sections: what comes with a campaign: ``progress``, ``behaviors``, ``offers``, ``redemptions``.
        :param filters: ``eligible``, ``ineligible`` or ``all``.
        :param creatives: ``promotion``, ``tile``; ``""`` asks for none.
        :param division_ids: only campaigns of these divisions.
        :param page_size: campaigns a call; None: SessionM's own number, 20.
        :returns: an iterator of campaigns. The arguments are checked at once, the first page is read when the first
            campaign is asked for.
        """
        query = {"sections[]": sections, "filters[]": filters, "creatives[]": creatives, "division_ids": division_ids}
        ids = {"user_id": user_id, "external_id": external_id}
        return self._speaker._pages("eligible_campaigns", ids, {**query, "page_size": page_size})

    def campaign_of_customer(
        self,
        *,
        campaign_id: int | str | None = None,
        permalink: str | None = None,
        user_id: str | int | None = None,
        external_id: str | int | None = None,
        sections: Iterable[str] = (),
        filters: Iterable[str] = (),
        creatives: Iterable[str] = (),
    ) -> Campaign:
        """One campaign as a customer has it.

        :param campaign_id: the campaign, by SessionM's number.
        :param permalink: the campaign, by its permalink. Beside an ``external_id`` both kinds share one address, and
            SessionM tells a number from a permalink by itself.
        :param user_id: the customer, by SessionM's id.
        :param external_id: the customer, by an id of another system.
        :param sections: what comes with it: ``progress``, ``behaviors``, ``offers``, ``redemptions``.
        :param filters: ``eligible``, ``ineligible`` or ``all``.
        :param creatives: ``promotion``, ``tile``; ``""`` asks for none.
        :returns: the campaign; its ``status`` is the customer's.
        """
        ids = {"campaign_id": campaign_id, "permalink": permalink, "user_id": user_id, "external_id": external_id}
        query = {"sections[]": sections, "filters[]": filters, "creatives[]": creatives}
        return self._speaker._call("campaign_of_customer", ids, protocol.campaign_in, query)

    def active_campaigns(self, division_ids: Iterable[str | int] = ()) -> list[Campaign]:
        """All active campaigns, whoever they are for.

        :param division_ids: only campaigns of these divisions.
        """
        query = {"division_ids": division_ids}
        return self._speaker._call("active_campaigns", {}, protocol.campaigns_in, query)

    def campaign_info(
        self,
        *,
        campaign_id: int | str | None = None,
        permalink: str | None = None,
        api_version: str | int | None = None,
    ) -> Campaign:
        """A campaign, whoever it is for.

        :param campaign_id: the campaign, by SessionM's number.
        :param permalink: the campaign, by its permalink.
        :param api_version: SessionM's version of this answer; None: its default.
        """
        ids = {"campaign_id": campaign_id, "permalink": permalink}
        return self._speaker._call("campaign_info", ids, protocol.campaign_in, {"api_version": api_version})


class SessionMClient(SystemClient[SessionMSettings], SessionMOperations):
    """Calls SessionM's Campaigns API.

    :param settings: the account and how to reach it.
    :param translate_error: applied to every error before it is raised.
    """

    @property
    def _auth(self) -> HTTPBasicAuth:
        # In bytes, for requests would take a text for Latin-1.
        return HTTPBasicAuth(self.settings.api_key.encode(), self.settings.api_secret.encode())

    @property
    def _speaker(self) -> SessionMClient:
        return self

    def _create(self, campaign: Mapping[str, Any]) -> Campaign:
        with self._translated():
            sent = protocol.campaign_to_create(campaign)
            request = protocol.request_of("create_campaign", {}, api_key=self.settings.api_key, body={"campaign": sent})
            try:
                created = self._fetch("create_campaign", request, protocol.created_campaign_in).answer
            except SessionMError as error:
                if error.may_have_happened:
                    error.add(f"campaign_info(permalink={sent['external_id']!r}) tells whether it was created")
                raise
            return {"external_id": sent["external_id"], **created}

    def _call(
        self,
        operation: str,
        ids: Mapping[str, Any],
        part: Callable[[Any], T | None],
        query: Mapping[str, Any] | None = None,
    ) -> T:
        with self._translated():
            request = self._request(operation, ids, query)
            auth_token = ids.get("auth_token")
            with self._redact.also(None if auth_token is None else str(auth_token)):
                answer: T = self._fetch(operation, request, part, ids).answer
            return answer

    def _pages(self, operation: str, ids: Mapping[str, Any], query: Mapping[str, Any]) -> Iterator[Campaign]:
        with self._translated():
            first = self._request(operation, ids, query)
            return self._translated_items(self._read_pages(operation, first))

    def _read_pages(self, operation: str, request: HttpRequest) -> Iterator[Campaign]:
        paging = protocol.Paging()
        while not paging.finished:
            of_page = replace(request, query=(*request.query, ("page", str(paging.number))))
            page, checksum, _ = self._fetch(operation, of_page, protocol.page_in)
            log.info("%s: page %d of %d: %d campaigns", operation, paging.number, page.pages, len(page.campaigns))
            try:
                paging.received(page, checksum)
            except protocol.PagingIgnoredError as error:
                raise SessionMError(str(error), function=operation, status=200) from None
            yield from page.campaigns

    def _request(self, operation: str, ids: Mapping[str, Any], query: Mapping[str, Any] | None) -> HttpRequest:
        return protocol.request_of(operation, ids, api_key=self.settings.api_key, query=query)

    def _fetch(
        self,
        operation: str,
        request: HttpRequest,
        part: Callable[[Any], Any],
        ids: Mapping[str, Any] | None = None,
    ) -> Fetched:
        judge = partial(protocol.answer_of, operation, part=part, ids=ids)
        reads = protocol.OPERATIONS[operation].repeatable
        return self._exchange(operation, request, judge, auth=self._auth, reads=reads)
