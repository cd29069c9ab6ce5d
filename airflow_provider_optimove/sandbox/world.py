"""The made-up account: customers, campaigns and all else that Optimove itself would know.

Nothing is stored. Everything follows by arithmetic from the seed, the number of customers and a date, so an account
of a million customers costs no more to start than one of ten. Customers are numbers from 0; who belongs to what is a
``range`` of them, which makes any page of any answer cheap to cut out.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

FIRST_CAMPAIGN_DAY = datetime.date(2020, 1, 1)
CAMPAIGN_NUMBERS_A_DAY = 10
PLANNED_DAYS = 30
LONGEST_DURATION = 7
CONTROL_ACTION = 1
CUSTOMER_ID_FORMAT = "C%07d"
ONE_TIME = -1

CHANNELS: Mapping[int, str] = {
    15: "Optimail",
    29: "Optipush",
    459: "Netmera Push",
    481: "Netmera In-App",
    502: "Call Center",
    504: "Email",
    505: "SMS",
    506: "Push",
    509: "Other",
    510: "Web Push",
    511: "In-App",
}
CHANNELS_WITH_CUSTOMER_METRICS = (15, 29)
PUSH_CHANNELS = (29, 506)
TEMPLATES_A_CHANNEL = 6

LIFECYCLE_STAGES: Mapping[int, str] = {1: "New", 2: "Active", 3: "FromChurn", 4: "Churn"}
STAGE_OF_RESIDUE = (1, 2, 2, 2, 2, 2, 3, 4, 4, 4)
VALUE_SEGMENTS: Mapping[int, str] = {1: "Diamond", 2: "Gold", 3: "Silver", 4: "Bronze"}
SEGMENT_OF_RESIDUE = (1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4)
NO_CUSTOMER_THEN = -1

REGIONS = ("Europe", "US", "ROW")
TEMPERS = ("Winner", "Loser")
COUNTRIES = ("UK", "DE", "US", "FR", "ES", "IT", "SE", "PL", "NL", "TR", "BR", "AU")
LANGUAGES = ("en", "de", "en", "fr", "es", "it", "sv", "pl", "nl", "tr", "pt", "en")
FIRST_NAMES = ("Ada", "Zoë", "José", "Mia", "Noah", "Chloë", "Leo", "Søren", "Ana", "Łucja", "Tom", "Ines")
MAIL_NAMES = ("ada", "zoe", "jose", "mia", "noah", "chloe", "leo", "soren", "ana", "lucja", "tom", "ines")
ALIASES = ("Buddy", "Player", "Pax", "Neto", "Yo", "Jolly", "Robin", "Lucky", "Falcon", "Pixel", "Nova", "Müller")
CATEGORIES = ("Slots", "Bingo", "Shoes", "Books", "Garden", "Travel")
REWARDS = ("bonus", "free spins", "free shipping", "coins", "cashback", "discount")
MARKETS = ("UK", "DE", "Nordic", "Ireland", "Iberia")
AUDIENCES = ("VIPs", "New customers", "Churn risk", "Weekend players")

PRODUCTS = ("jeans", "sneaker", "novel", "kettle", "jacket", "lamp")
PRODUCT_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "color": ("blue", "grey", "black", "red"),
    "style": ("skinny", "relaxed", "classic"),
    "brand": ("Northway", "Plain & Co", "Ümlaut"),
    "price": ("19.90", "49.00", "5.50", "120.00", "75.25"),
}

ACTIVITY_EVENTS: Mapping[int, tuple[str, Mapping[int, tuple[str, str]]]] = {
    1001: ("set_user_id", {1: ("original_visitor_id", "String"), 2: ("user_id", "String")}),
    1104: ("deposit", {1: ("deposit_status", "String"), 2: ("amount", "Number")}),
    1105: ("cart_updated", {1: ("items", "Number"), 2: ("currency", "String"), 3: ("gift", "Boolean")}),
}

MAIL_TEMPLATES: Mapping[int, str] = {127: "Welcome", 129: "Password reset", 271: "Deposit receipt"}

WATCHED_ATTRIBUTES = ("OptimailUnsubscribed", "FavoriteCategory", "Country")

_MASK = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """A number that looks random and is the same for the same numbers."""
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:
        mixed = ((mixed ^ number) * 0xBF58476D1CE4E5B9) & _MASK
        mixed ^= mixed >> 29
    return mixed


def customer_id(customer: int) -> str:
    """The id of a customer by number."""
    return CUSTOMER_ID_FORMAT % customer


@dataclass(frozen=True)
class Kind:
    """What the campaigns of one slot of the day are like.

    ``step`` and ``offset`` say which customers they take: every ``step``-th one. All steps divide 40 and no two slots
    meet, so a customer is in at most one campaign a day.
    """

    step: int
    offset: int
    type: str
    recipient_groups: int
    channels: tuple[int, ...]
    promotion: bool = False
    products: bool = False
    one_time: bool = False
    realtime: bool = False
    canceled: bool = False
    failed: bool = False
    every_days: int = 1

    @property
    def has_control_group(self) -> bool:
        return self.type != "No Control"


KINDS = (
    Kind(5, 0, "Test/Control", 1, (15,), promotion=True),
    Kind(10, 1, "A/B", 2, (15, 506), promotion=True),
    Kind(20, 2, "No Control", 1, (504,), promotion=True),
    Kind(20, 3, "Self-Optimizing", 2, (505,)),
    Kind(20, 4, "A/B/N", 3, (29,), products=True),
    Kind(40, 6, "Test/Control", 1, (459,), promotion=True, one_time=True),
    Kind(40, 7, "No Control", 1, (506,), promotion=True, realtime=True),
    Kind(40, 8, "Test/Control", 1, (15,), promotion=True, canceled=True, every_days=2),
    Kind(40, 9, "No Control", 1, (504,), failed=True, every_days=4),
)


@dataclass(frozen=True)
class Campaign:
    """One campaign on the day it is executed; duration and lead time in days."""

    number: int
    date: datetime.date
    kind: Kind
    target_group: int
    duration: int
    lead_time: int
    variation: int

    @property
    def status(self) -> str:
        if self.kind.failed:
            return "Failed"
        if self.kind.canceled:
            return "Not Run"
        return "Partially Run" if self.kind.products and self.variation % 5 == 0 else "Successful"

    @property
    def error(self) -> str | None:
        return "Some recipients had no device" if self.status == "Partially Run" else None

    @property
    def executed(self) -> bool:
        """Whether it reached customers once its day has come."""
        return not (self.kind.failed or self.kind.canceled)

    @property
    def ends(self) -> datetime.date:
        return self.date + datetime.timedelta(days=self.duration)

    @property
    def recipient_groups(self) -> range:
        """The groups that get something, so without the control group."""
        return range(1, self.kind.recipient_groups + 1)

    def action(self, recipient_group: int) -> int:
        if recipient_group == 0:
            return CONTROL_ACTION
        return 2 + (self.variation + recipient_group) % 30

    def promo_code(self, recipient_group: int) -> str | None:
        if not self.kind.promotion:
            return None
        return (
            f"{REWARDS[self.variation % len(REWARDS)][:4].upper().strip()}{self.variation % 90 + 10}-{recipient_group}"
        )

    def template(self, channel: int, recipient_group: int) -> int:
        return channel * 100 + (self.variation // 7 + recipient_group) % TEMPLATES_A_CHANNEL + 1

    def scheduled_time(self, channel: int) -> str:
        hour = 8 + (self.variation + channel) % 10
        return f"{self.date.isoformat()} {hour:02d}:{30 * (self.variation % 2):02d}:00"

    def send_id(self, channel: int, recipient_group: int) -> str:
        return f"S{self.number}-{channel}-{recipient_group}"

    def group_of_place(self, place: int) -> int:
        """The recipient group of the member at a place; every tenth member is the control group."""
        tenth = (place + self.variation) % 10
        if tenth == 0 and self.kind.has_control_group:
            return 0
        return 1 + tenth % self.kind.recipient_groups


@dataclass(frozen=True)
class Attribute:
    """A customer attribute; ``personal`` ones are gone once the customer is erased."""

    name: str
    description: str
    value: Callable[[int], str]
    personal: bool = False


class World:
    """All that follows from a seed and a number of customers.

    :param customers: how many customers there are.
    :param seed: another seed, another account.
    """

    def __init__(self, customers: int, seed: int) -> None:
        self.customers = customers
        self.seed = seed
        self._person = self.dice(14)
        self._country = self.dice(15)
        self._value = self.dice(13)

    def chance(self, *numbers: int) -> int:
        """A number that looks random, of this account."""
        return mix(self.seed, *numbers)

    def dice(self, salt: int) -> Callable[[int], int]:
        """A function from a customer's number to a number that looks random: cheap, for whole pages of customers."""
        factor, start = mix(self.seed, salt) | 1, mix(self.seed, salt, salt)
        return lambda customer: ((customer * factor + start) & _MASK) >> 24

    # Customers

    def customer(self, identifier: str) -> int | None:
        """The number of a customer by id, in any letter case; None for an unknown one."""
        digits = identifier[1:]
        if identifier[:1] not in ("C", "c") or not (digits.isascii() and digits.isdigit()):
            return None
        number = int(digits)
        return number if number < self.customers and customer_id(number) == identifier.upper() else None

    @property
    def everyone(self) -> range:
        return range(self.customers)

    def some(self, step: int, *numbers: int) -> range:
        """Every ``step``-th customer, beginning at a place that depends on the numbers."""
        return range(self.chance(*numbers) % step, self.customers, step)

    def with_residues(self, residues: tuple[int, ...], wanted: int) -> list[range]:
        """The customers whose residue stands for what is wanted."""
        turn = self.seed % len(residues)
        return [
            range((place - turn) % len(residues), self.customers, len(residues))
            for place, value in enumerate(residues)
            if value == wanted
        ]

    def stage(self, customer: int) -> int:
        return STAGE_OF_RESIDUE[(customer + self.seed) % len(STAGE_OF_RESIDUE)]

    def segment(self, customer: int) -> int:
        return SEGMENT_OF_RESIDUE[(customer + self.seed) % len(SEGMENT_OF_RESIDUE)]

    def microsegment(self, customer: int) -> int:
        kinds = len(REGIONS) * len(TEMPERS)
        return (self.stage(customer) - 1) * kinds + self.chance(11, customer) % kinds + 1

    def previous_microsegment(self, customer: int) -> int:
        kinds = len(REGIONS) * len(TEMPERS) * len(LIFECYCLE_STAGES)
        return self.microsegment(customer) % kinds + 1

    def previous_segment(self, customer: int) -> int:
        """The value segment before the last change; -1 when the customer is new."""
        if self.chance(12, customer) % 10 == 0:
            return NO_CUSTOMER_THEN
        return self.segment(customer) % len(VALUE_SEGMENTS) + 1

    def future_value(self, customer: int) -> float:
        return self._value(customer) % 200_000 / 100

    def mail_address(self, customer: int) -> str:
        return f"{MAIL_NAMES[self._person(customer) % len(MAIL_NAMES)]}.{customer}@example.com"

    def customer_of_mail_address(self, address: str) -> int | None:
        digits = address.partition("@")[0].rpartition(".")[2]
        if not (digits.isascii() and digits.isdigit()) or int(digits) >= self.customers:
            return None
        return int(digits) if self.mail_address(int(digits)) == address.lower() else None

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """The customer attributes by lower-case name."""
        person, country = self._person, self._country
        alias, number, age, gender, affiliate, category, unsubscribed = map(self.dice, range(16, 23))
        attributes = (
            Attribute(
                "Alias",
                "Name shown to others",
                lambda c: f"{ALIASES[alias(c) % len(ALIASES)]}{number(c) % 1000}",
                True,
            ),
            Attribute("FirstName", "First name", lambda c: FIRST_NAMES[person(c) % len(FIRST_NAMES)], True),
            Attribute("Email", "E-mail address", self.mail_address, True),
            Attribute("Country", "Country of residence", lambda c: COUNTRIES[country(c) % len(COUNTRIES)]),
            Attribute("Language", "Preferred language", lambda c: LANGUAGES[country(c) % len(LANGUAGES)]),
            Attribute("Age", "Age in years", lambda c: str(18 + age(c) % 60)),
            Attribute("Gender", "Gender", lambda c: "FMX"[gender(c) % 3]),
            Attribute("Affiliate", "Affiliate that brought the customer", lambda c: f"aff-{affiliate(c) % 40}"),
            Attribute("LifecycleStage", "Lifecycle stage", lambda c: LIFECYCLE_STAGES[self.stage(c)]),
            Attribute("ValueSegment", "Value segment", lambda c: VALUE_SEGMENTS[self.segment(c)]),
            Attribute("FutureValue", "Predicted value", lambda c: f"{self.future_value(c):.2f}"),
            Attribute("FavoriteCategory", "Category bought most", lambda c: CATEGORIES[category(c) % len(CATEGORIES)]),
            Attribute(
                "OptimailUnsubscribed",
                "Brands whose mail was unsubscribed",
                lambda c: "SuperBrand" if unsubscribed(c) % 10 == 0 else "",
            ),
        )
        return {attribute.name.lower(): attribute for attribute in attributes}

    # Catalogues

    @cached_property
    def actions(self) -> Mapping[int, str]:
        return {2 + n: f"{(n // len(REWARDS) + 1) * 10}% {REWARDS[n % len(REWARDS)]}" for n in range(30)}

    @cached_property
    def target_groups(self) -> Mapping[int, str]:
        return {
            1 + n: f"{MARKETS[n % len(MARKETS)]} {AUDIENCES[n // len(MARKETS)]}"
            for n in range(len(MARKETS) * len(AUDIENCES))
        }

    @cached_property
    def channel_templates(self) -> Mapping[int, Mapping[int, str]]:
        return {
            channel: {channel * 100 + n + 1: f"{name} {REWARDS[n % len(REWARDS)]}" for n in range(TEMPLATES_A_CHANNEL)}
            for channel, name in CHANNELS.items()
        }

    # Campaigns

    def campaign(self, number: int) -> Campaign | None:
        """A campaign by number, whatever its day."""
        days, slot = divmod(number - 1, CAMPAIGN_NUMBERS_A_DAY)
        if days < 0 or days > 100_000 or slot >= len(KINDS):
            return None
        date = FIRST_CAMPAIGN_DAY + datetime.timedelta(days=days)
        kind = KINDS[slot]
        if (days + self.seed) % kind.every_days:
            return None
        variation = self.chance(1, days, slot) % 100_000
        group = ONE_TIME if kind.one_time else 1 + (days * 7 + slot) % len(self.target_groups)
        lead_time = 2 if kind.type == "Self-Optimizing" and days % 3 == 0 else 0
        return Campaign(number, date, kind, group, LONGEST_DURATION - variation % 5, lead_time, variation)

    def campaigns(self, date: datetime.date) -> Iterator[Campaign]:
        """The campaigns of a day, failed and canceled ones too."""
        first = (date - FIRST_CAMPAIGN_DAY).days * CAMPAIGN_NUMBERS_A_DAY + 1
        for slot in range(len(KINDS)):
            campaign = self.campaign(first + slot)
            if campaign is not None:
                yield campaign

    def members(self, campaign: Campaign) -> range:
        """Everyone a campaign takes in, control group included."""
        turn = (campaign.date - FIRST_CAMPAIGN_DAY).days * 7 + self.seed
        return range((campaign.kind.offset + turn) % campaign.kind.step, self.customers, campaign.kind.step)

    def recipients(self, campaign: Campaign) -> Iterator[tuple[int, range]]:
        """Recipient groups with their customers; a group comes in several parts, 0 is the control group."""
        members = self.members(campaign)
        for tenth in range(10):
            yield campaign.group_of_place(tenth), members[tenth::10]

    def place(self, campaign: Campaign, customer: int) -> int | None:
        """At which place a customer is among the members of a campaign; None for no member."""
        members = self.members(campaign)
        return members.index(customer) if customer in members else None

    def product(self, customer: int, rank: int) -> str:
        number = self.chance(23, customer, rank)
        return f"{PRODUCTS[number % len(PRODUCTS)]}{number // 8 % 50}"

    def product_attribute(self, name: str, product: str) -> str:
        values = PRODUCT_ATTRIBUTES[name]
        return values[mix(self.seed, len(name), *product.encode()) % len(values)]
