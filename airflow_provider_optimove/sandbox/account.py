"""What an account was told, on top of what the world knows by itself."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, NamedTuple

from airflow_provider_optimove.sandbox.world import PLANNED_DAYS, Campaign, World


class Listener(NamedTuple):
    """A registered event listener; the URL as it is called, not percent-encoded."""

    event_type_id: int
    channel_id: int | None
    url: str


class Account:
    """An account of Optimove's: the made-up world and all that was written to it.

    * ``promotions``: names by promo code
    * ``channel_templates``: by channel, names by template
    * ``apps``: by channel, names by app
    * ``realtime_triggers``: names by trigger
    * ``listeners``: see :class:`Listener`
    * ``promotion_statuses``: by campaign, the latest status by customer
    * ``metrics``: every row of UpdateCampaignMetrics, in their order
    * ``interactions``: every call of UpdateCampaignInteractions, in their order
    * ``preferences``: by channel and app, the mode by customer
    * ``erased_customers``: ids
    * ``mails``: what was sent, with its ``SendID``

    ``refused_rows`` (by function) and ``failing_mails`` are what is told of rows, by a value that they hold.

    Switches: ``refuse_unique_message_id``: whether SendTransactionalMail answers a UniqueMessageID with 400;
    ``attributes_as_text``: whether CustomerAttributes come as one string, joined with the delimiter.

    :param customers: how many customers there are.
    :param seed: another seed, another account.
    :param last_data_update: the date of the newest data, a date or ``YYYY-MM-DD``; None for yesterday (UTC).
    :param today: the date the account takes for today; None for the real one (UTC).
    """

    def __init__(
        self,
        *,
        customers: int = 1000,
        seed: int = 0,
        last_data_update: datetime.date | str | None = None,
        today: datetime.date | None = None,
    ) -> None:
        self.world = World(customers, seed)
        self._today = today
        self.last_data_update = last_data_update
        self.promotions: dict[str, str] = {}
        self.channel_templates = {channel: dict(names) for channel, names in self.world.channel_templates.items()}
        self.apps: dict[int, dict[str, str]] = {}
        self.realtime_triggers: dict[str, str] = {}
        self.listeners: list[Listener] = []
        self.promotion_statuses: dict[int, dict[str, bool]] = {}
        self.metrics: list[dict[str, Any]] = []
        self.interactions: list[dict[str, Any]] = []
        self.preferences: dict[tuple[int, str | None], dict[str, int]] = {}
        self.erased_customers: set[str] = set()
        self.mails: list[dict[str, Any]] = []
        self.refused_rows: dict[str, dict[str, str]] = {}
        self.failing_mails: dict[str, str] = {}
        self.refuse_unique_message_id = False
        self.attributes_as_text = False

    @property
    def now(self) -> datetime.datetime:
        """The moment the account takes for the present, in UTC: the time of day is always the real one."""
        real = datetime.datetime.now(datetime.UTC)
        return datetime.datetime.combine(self._today, real.timetz()) if self._today else real

    @property
    def today(self) -> datetime.date:
        """The date the account takes for today."""
        return self.now.date()

    @today.setter
    def today(self, date: datetime.date | None) -> None:
        self._today = date

    @property
    def last_data_update(self) -> datetime.date:
        """The date of the newest data. Set it to a date or ``YYYY-MM-DD``; None for yesterday."""
        return self._last_data_update or self.today - datetime.timedelta(days=1)

    @last_data_update.setter
    def last_data_update(self, date: datetime.date | str | None) -> None:
        self._last_data_update = datetime.date.fromisoformat(date) if isinstance(date, str) else date

    def has_recent_data(self, *dates: datetime.date) -> bool:
        """Whether all dates lie within the two days before today."""
        return all(1 <= (self.today - date).days <= 2 for date in dates)

    def planned(self, campaign: Campaign) -> bool:
        """Whether a campaign's day is still to come."""
        return campaign.date > self.today

    def campaign(self, number: int) -> Campaign | None:
        """A campaign that is known and did not fail, planned ones included."""
        campaign = self.world.campaign(number)
        if campaign is None or campaign.kind.failed or (campaign.date - self.today).days > PLANNED_DAYS:
            return None
        return campaign

    def executed_campaign(self, number: int) -> Campaign | None:
        """A campaign that reached customers."""
        campaign = self.campaign(number)
        return campaign if campaign is not None and campaign.executed and not self.planned(campaign) else None

    def executed_campaigns(self, date: datetime.date) -> Iterator[Campaign]:
        """The campaigns that reached customers on a day."""
        return (c for c in self.world.campaigns(date) if c.executed and not self.planned(c))

    def recurring_campaigns(self, date: datetime.date) -> Iterator[Campaign]:
        """The campaigns to target groups that reached customers on a day."""
        return (c for c in self.executed_campaigns(date) if not c.kind.one_time)
