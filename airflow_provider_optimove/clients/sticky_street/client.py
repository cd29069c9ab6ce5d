"""StickyStreetClient: the one place that speaks HTTP to Sticky Street."""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import urlencode

from airflow_provider_optimove.clients.answers import Operation, clipped, explanation, said_of, success_of
from airflow_provider_optimove.clients.calls import SystemClient, SystemSettings
from airflow_provider_optimove.clients.http import (
    ConnectionFailure,
    HttpAnswer,
    HttpRequest,
    StopReading,
    TryAgain,
)
from airflow_provider_optimove.clients.optimove.functions.types import CalendarDate
from airflow_provider_optimove.clients.optimove.values import Unfit, shown, value_check
from airflow_provider_optimove.clients.sticky_street.cursor import id_of
from airflow_provider_optimove.clients.sticky_street.report import NoReport, Report, ReportReader
from airflow_provider_optimove.exceptions import OptimoveInputError, StickyStreetError

ALL_CUSTOMERS = Operation("Sticky Street", "customers_all", repeatable=True)

FIELDS = (
    *("first_name", "last_name", "phone", "email", "address1", "address2", "city", "state", "zip", "country"),
    *("custom1", "custom_date", "customer_username", "customer_code", "card_number"),
)
"""The documented fields of a customer; an account may have others."""

ACCESS_KEY_HEADER = "api_access_key"
FORM = "application/x-www-form-urlencoded"
NAME_OF_A_FUNCTION = re.compile(r"[A-Za-z_$][\w$.]*", re.ASCII)
ID_OF_A_CAMPAIGN = re.compile(r"[0-9]+")
NUMBERS_OF_12_DIGITS = range(10**11, 10**12)
TEXT_OF_A_LIST = re.compile(r"\s*[\[({]")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d", re.ASCII)
OF_CREDENTIALS = re.compile(r"credential|password|user.?id|access.?key", re.IGNORECASE)
ACCEPTED = {"JSON": "application/json, text/javascript", "XML": "application/xml, text/xml"}

# A campaign and a day that no customer had a transaction in: whoever answers this says nothing of anybody.
NO_CAMPAIGN = "000000000000"
NO_DAY = "1970-01-01"
LAST_DAY = "9999-12-31"

TAG = re.compile(r"<[^<>]*+>")
PAGE = re.compile(
    r"(?is)(?:\s|<!--(?:(?!-->).)*+-->|<\?(?:(?!\?>).)*+\?>)*+<(?:!doctype\s+html|html|head|body|title)\b"
)
DATA_AMID_TEXT = re.compile(r"[{<]")
IT_REPEATS = "[an answer that repeats the password or the key]"

NO_CAMPAIGNS: tuple[Any, ...] = (None, (), [])
"""What selects no campaigns on purpose."""

_date = value_check(CalendarDate())
"""The text of a date; raises Unfit."""


@dataclass(frozen=True, kw_only=True)
class StickyStreetSettings(SystemSettings):
    """An account and how to reach it.

    :param account_id: the account.
    :param user_id: the user.
    :param user_password: the user's password, or the access key.
    :param key_in_header: whether it travels in the header ``api_access_key`` instead of the body.
    """

    account_id: str
    user_id: str
    user_password: str = field(repr=False)
    key_in_header: bool = False

    @property
    def secrets(self) -> list[str]:
        """The password, or the access key."""
        return [self.user_password]


class ReportArguments(TypedDict, total=False):
    """Which customers a report has, and how they travel. All arguments are optional.

    * ``date_start``, ``date_end``: days of transactions; they need ``selected_campaigns``.
    * ``selected_campaigns``: ids as text: only customers with a transaction in one of them. Also as one text, with
      commas. A number is an id if it has 12 digits.
    * ``last``: only customers that are new or changed since this id; 0: all. It excludes the three others.
    * ``output``: the format that is asked for; the customers are the same.
    * ``callback``: the name of a function whose call JSON is wrapped in (JSONP); it is unwrapped again.
    * ``condensed``: whether JSON comes without white space.
    """

    date_start: datetime.date | str | None
    date_end: datetime.date | str | None
    selected_campaigns: Sequence[str | int] | str | int
    last: str | int | None
    output: Literal["JSON", "XML"]
    callback: str | None
    condensed: bool


class StickyStreetClient(SystemClient[StickyStreetSettings]):
    """Reads reports of Sticky Street (The Client Toolbox).

    :param settings: the account and how to reach it.
    :param translate_error: applied to every error before it is raised.
    """

    def all_customers(self, **arguments: Unpack[ReportArguments]) -> Iterator[dict[str, Any]]:
        """The report of all customers.

        :param arguments: which customers, and how they travel; see :class:`ReportArguments`.
        :returns: an iterator of customers, with Sticky Street's names of the fields. The arguments are checked at once,
            the call is made when the first one is asked for; none is given before all have arrived.
        :raises OptimoveInputError: all that is wrong with the arguments.
        :raises StickyStreetError: the call failed.
        """
        with self._translated():
            fields = form_fields(**arguments)
        return self._translated_items(self._customers(fields))

    def report(self, **arguments: Unpack[ReportArguments]) -> Report:
        """The same, as lines that nobody decoded, with what the answer has beside the customers.

        :param arguments: which customers, and how they travel; see :class:`ReportArguments`.
        :returns: the report, complete; to be read to its end or closed.
        :raises OptimoveInputError: all that is wrong with the arguments.
        :raises StickyStreetError: the call failed.
        """
        with self._translated():
            return self._report(form_fields(**arguments))

    def look(self) -> None:
        """Ask for the customers of a campaign and a day that nobody had a transaction in.

        Of a server that answers with customers all the same, not more than the first few are read.

        :raises StickyStreetError: the credentials are not accepted, or the call failed.
        """
        nobody = form_fields(date_start=NO_DAY, date_end=NO_DAY, selected_campaigns=(NO_CAMPAIGN,))
        with self._translated():
            self._report(nobody, glance=True).close()

    def _customers(self, fields: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        yield from self._report(fields).customers()

    def _report(self, fields: Mapping[str, str], *, glance: bool = False) -> Report:
        with ExitStack() as of_attempt:

            def reader() -> ReportReader:
                # What an attempt before this one has left.
                of_attempt.close()
                return of_attempt.enter_context(closing(ReportReader(self._hidden, glance=glance)))

            request = request_of(self.settings, fields)
            judge = partial(_judge, hide=self._hidden)
            try:
                exchange = self._exchange(ALL_CUSTOMERS.name, request, judge, body_reader=reader, reads=True)
            except StickyStreetError as error:
                if error.permanent and OF_CREDENTIALS.search(error.message):
                    error.add(_remark_on_the_password(self.settings))
                raise
            report: Report = exchange.answer
            of_attempt.pop_all()
            return report

    def _hidden(self, text: str) -> str:
        """A text without secrets; nothing of one that has a secret with tags or white space in between."""
        redacted = self._without_any_secret(text)
        bare = _bare(redacted)
        # The second form: in UTF-8, where an answer says that it is in Latin-1.
        secrets = [*self.settings.secrets, *(secret.encode().decode("latin-1") for secret in self.settings.secrets)]
        return IT_REPEATS if any(secret in bare for secret in filter(None, map(_bare, secrets))) else redacted


def form_fields(
    *,
    date_start: Any = None,
    date_end: Any = None,
    selected_campaigns: Any = (),
    last: Any = None,
    output: Any = "JSON",
    callback: Any = None,
    condensed: Any = False,
) -> dict[str, str]:
    """Check the arguments of a report and bring them into the form that is sent.

    :returns: the fields of the form, without the credentials.
    :raises OptimoveInputError: all that is wrong with them.
    """
    problems: list[str] = []
    dates = {"date_start": date_start, "date_end": date_end}
    given = {"type": "reports", "report": ALL_CUSTOMERS.name}
    for name, value in dates.items():
        if value is not None:
            try:
                given[name] = _date(value)
            except Unfit as unfit:
                remark = "; a template makes the day of a datetime with | ds" if _is_moment(value) else ""
                problems += [f"{problem}{remark}" for problem in unfit.under(name)]
    if given.get("date_start", "") > given.get("date_end", LAST_DAY):
        problems.append(f"date_start, date_end: {given['date_start']} is after {given['date_end']}")
    given_none = selected_campaigns in NO_CAMPAIGNS
    campaigns = [] if given_none else _campaigns(selected_campaigns, problems)
    if campaigns:
        given["selected_campaigns"] = ",".join(campaigns)
    elif given_none and last is None and dates != dict.fromkeys(dates):
        problems.append("date_start, date_end: need selected_campaigns; without campaigns the server ignores dates")
    if last is not None:
        id_to_go_on_from = id_of(last)
        excluded = [name for name, value in dates.items() if value is not None]
        if selected_campaigns:
            excluded.append("selected_campaigns")
        if excluded:
            problems.append(f"last: excludes {', '.join(excluded)}")
        if id_to_go_on_from is None:
            problems.append(f"last: expected the id of a transaction, which is digits, or 0, got {shown(last)}")
        else:
            given["last"] = id_to_go_on_from
    if not isinstance(output, str) or output not in ACCEPTED:
        problems.append(f"output: expected JSON or XML, got {shown(output)}")
    given["output"] = output
    if callback is not None:
        given["callback"] = callback
        if not isinstance(callback, str) or not NAME_OF_A_FUNCTION.fullmatch(callback):
            problems.append(f"callback: expected the name of a function, got {shown(callback)}")
    if condensed:
        given["condensed"] = "yes"
    if not isinstance(condensed, bool):
        problems.append(f"condensed: expected true or false, got {shown(condensed)}")
    if output == "XML":
        problems += [f"{name}: is for JSON only" for name in ("callback", "condensed") if name in given]
    if problems:
        raise OptimoveInputError("the arguments are not valid", function=ALL_CUSTOMERS.name, problems=problems)
    return given


def request_of(settings: StickyStreetSettings, fields: Mapping[str, str]) -> HttpRequest:
    """What is sent.

    :param settings: the account.
    :param fields: as :func:`form_fields` returns them.
    """
    who = {"user_id": settings.user_id, "account_id": settings.account_id}
    headers = {"Content-Type": FORM, "Accept": ACCEPTED[fields["output"]]}
    if settings.key_in_header:
        headers[ACCESS_KEY_HEADER] = settings.user_password
    else:
        who["user_password"] = settings.user_password
    return HttpRequest("POST", "", body=urlencode({**who, **fields}).encode(), headers=headers)


def _judge(outcome: HttpAnswer | ConnectionFailure, *, hide: Callable[[str], str]) -> Report:
    if isinstance(outcome, HttpAnswer) and outcome.content is None and outcome.body.strip():
        outcome = replace(outcome, body=_what_to_show(outcome.body, hide).encode())
    answer = success_of(ALL_CUSTOMERS, outcome, StickyStreetError)
    found = answer.content
    if isinstance(found, Report):
        return found
    error = partial(StickyStreetError, function=ALL_CUSTOMERS.name, status=answer.status)
    if not isinstance(found, NoReport):
        said = said_of(answer, "Sticky Street's") if answer.body.strip() else "the answer is empty"
        raise error(f"no report came: {said}")
    if found.kind == "error":
        raise error(clipped(found.message), permanent=True, refused=True)
    if found.kind == "incomplete":
        raise TryAgain(error(f"the answer broke off: {found.message}"))
    if found.kind == "not kept":
        raise error(found.message)
    raise error(f"the answer cannot be read: {clipped(found.message)}")


def _what_to_show(body: bytes, hide: Callable[[str], str]) -> str:
    """What an error may show of an answer that is no report: words or a page, but no secrets and no customers."""
    size = f"{len(body):,} bytes"
    text = body.decode(errors="replace").removeprefix("\ufeff").strip()
    if "\0" in text or "\ufffd" in text:
        # Secrets are not found in other encodings.
        return f"[{size} that are no text in UTF-8]"
    if said := _words_of_an_error(body, hide):
        return said
    text = hide(text)
    if text.startswith("<"):
        return text if PAGE.match(text) else f"[{size} of markup that is no page]"
    words = explanation(text.encode())
    if text.startswith(("{", "[")):
        undecoded = words.data is not None or words.text == clipped(text)
        return f"[{size} of data]" if undecoded and text != IT_REPEATS else words.text
    if data := DATA_AMID_TEXT.search(text):
        return f"{clipped(text[: data.start()].strip())} [the beginning of {size}]"
    return words.text


def _words_of_an_error(body: bytes, hide: Callable[[str], str]) -> str:
    """What Sticky Street says in an error of its own; empty where the body is something else."""
    with closing(ReportReader(hide)) as reader:
        with suppress(StopReading):
            reader.read(body)
        _, found = reader.end()
        if isinstance(found, Report):
            found.close()
    return found.message if isinstance(found, NoReport) and found.kind == "error" else ""


def _bare(text: str) -> str:
    return "".join(TAG.sub("", html.unescape(text)).split())


def _remark_on_the_password(settings: StickyStreetSettings) -> str:
    """What may be wrong with it, if the server does not accept it."""
    if settings.user_password != settings.user_password.strip():
        return "the password begins or ends with a blank or a line break"
    if settings.key_in_header:
        return "key_in_header is on, which is for access keys only"
    return "is it an access key? then key_in_header must be on"


def _is_moment(value: Any) -> bool:
    return isinstance(value, str) and bool(MOMENT.match(value))


def _campaigns(given: Any, problems: list[str]) -> list[str]:
    """The ids of the campaigns, as far as they are some."""
    if isinstance(given, str) and TEXT_OF_A_LIST.match(given):
        problems.append(
            f"selected_campaigns: expected ids with commas, got the text of a list, {shown(given)}; "
            "a template joins them with | join(',')"
        )
        return []
    if type(given) is int:
        given = [given]
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        problems.append(f"selected_campaigns: expected a list of ids, got {shown(given)}")
        return []
    campaigns = given.split(",") if isinstance(given, str) else list(given)
    if not campaigns:
        # Without one, the report has everybody.
        problems.append("selected_campaigns: there is none in it; leave it out for all customers")
    for campaign in campaigns:
        if type(campaign) is int:
            # As Airflow makes it of text, where it renders templates as native objects.
            if campaign not in NUMBERS_OF_12_DIGITS:
                problems.append(
                    f"selected_campaigns: expected text, got the number {shown(campaign)}, which may have lost leading "
                    "zeros; render_template_as_native_obj=True also makes numbers of text"
                )
        elif not isinstance(campaign, str) or not ID_OF_A_CAMPAIGN.fullmatch(campaign):
            problems.append(f"selected_campaigns: expected ids, which are digits without blanks, got {shown(campaign)}")
    return [] if problems else list(map(str, campaigns))
