"""Operators of SessionM."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.task_arguments import check_choices, got_text
from airflow_provider_optimove.operators.remembered_write import RememberedWriteOperator
from airflow_provider_optimove.operators.rows_argument import RowsField, check_paths, count_of, ids_of, stretches_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.clients.long_writes import Log
    from airflow_provider_optimove.clients.sessionm.opt_ins import Customer, CustomerKind
    from airflow_provider_optimove.hooks.sessionm import SessionMHook

OPT_IN = "opt_in"
CREATE = "create_campaign"

CREATE_KEY, OPT_IN_KEY = "sessionm_create_campaign", "sessionm_opt_in"
"""Under what names the progress is in Airflow's task state."""

# Ids that would make another address of the one that they stand in.
PATHS = (".", "..")


class SessionMWriteOperator(RememberedWriteOperator):
    """Base of the operators of writes.

    :param sessionm_conn_id: the connection.
    """

    def __init__(self, *, sessionm_conn_id: str = "sessionm_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sessionm_conn_id = sessionm_conn_id

    @cached_property
    def hook(self) -> SessionMHook:
        """The hook of the connection."""
        return hook_of(self.sessionm_conn_id)


class SessionMCreateCampaignOperator(SessionMWriteOperator):
    """Create a campaign, once over all tries of the task.

    A campaign without an ``external_id`` gets one that is the same at each try. When the answer to a try was lost,
    the next one asks SessionM for it, and creates the campaign only if it is not there.

    :param campaign: the attributes by SessionM's names; ``name`` (unique), ``status``, ``starts_at`` and ``ends_at``
        are needed. Times are datetimes (UTC where they are naive) or ISO texts.
    :param durable: remember between tries what was sent.
    :param on_uncertain: whether the task stops (``fail``) or creates the campaign all the same (``resend``) where
        something may have been created that cannot be asked for: an earlier try had other attributes.
    :param sessionm_conn_id: the connection.
    :returns: (XCom) ``{"id", "external_id", "name", "status"}``.
    """

    template_fields: Sequence[str] = ("sessionm_conn_id", "campaign")

    def __init__(
        self,
        *,
        campaign: Mapping[str, Any],
        durable: bool = True,
        on_uncertain: Literal["fail", "resend"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices(CREATE, on_uncertain=(on_uncertain, ("fail", "resend")))
        self.campaign = campaign
        self.durable = durable
        self.on_uncertain: Literal["fail", "resend"] = on_uncertain
        self._was_not_found = False

    def write(self, context: Context) -> tuple[dict[str, Any], Callable[[], None]]:
        """Create the campaign."""
        from airflow_provider_optimove.clients.sessionm.protocol import OPERATIONS, campaign_to_create
        from airflow_provider_optimove.exceptions import SessionMError
        from airflow_provider_optimove.operators.task_journal import is_retry
        from airflow_provider_optimove.operators.write_once import WriteOnce, fingerprint_of

        given: Any = self.campaign
        if isinstance(given, str):
            problem = f"campaign: expected an object with attributes by name, {got_text('object')}"
            raise OptimoveInputError("the arguments are not valid", function=CREATE, problems=[problem])
        campaign = campaign_to_create(given)
        if not self._names_an_id:
            campaign["external_id"] = self._external_id(context, campaign)
        settings = self.hook.client.settings
        account = [settings.http.base_url, settings.api_key]
        write = WriteOnce(
            OPERATIONS[CREATE],
            error=SessionMError,
            look_at="the campaigns in SessionM",
            fingerprint=fingerprint_of(OPERATIONS[CREATE], {"account": account, "campaign": campaign}),
            journal=self.journal_of(context, CREATE_KEY),
            durable=self.durable,
            resend=self.on_uncertain == "resend",
            earlier_tries=is_retry(context),
            log=self.log,
        )
        created = write.run(lambda: self._created(campaign), lambda: self._found(campaign))
        self.log.info("%s: %s, with the external_id %s", CREATE, created["id"], created["external_id"])
        return created, write.finish

    @property
    def _names_an_id(self) -> bool:
        """Whether the id of the campaign was given, so that another campaign may have it."""
        return bool(self.campaign.get("external_id") or self.campaign.get("permalink"))

    def _external_id(self, context: Context, campaign: Mapping[str, Any]) -> str:
        """An id that is the same over all tries, and another where a try creates another campaign."""
        import uuid

        from airflow_provider_optimove.clients.sessionm.protocol import OPERATIONS
        from airflow_provider_optimove.operators.write_once import fingerprint_of

        task_instance = context.get("ti")
        if task_instance is None:
            return str(campaign["external_id"])
        task = (task_instance.dag_id, task_instance.task_id, task_instance.run_id, task_instance.map_index)
        attributes = {name: value for name, value in campaign.items() if name != "external_id"}
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{task} {fingerprint_of(OPERATIONS[CREATE], attributes)}"))

    def _created(self, campaign: Mapping[str, Any]) -> dict[str, Any]:
        """Create the campaign."""
        from airflow_provider_optimove.exceptions import SessionMError

        try:
            return _facts_of(self.hook.create_campaign(campaign), campaign)
        except SessionMError as error:
            if error.refused and self._was_not_found:
                error.add(
                    "an earlier try may have created it all the same: campaign_info may not know a campaign that is not"
                    " active. Look at the campaigns in SessionM; if it is there, mark the task as success"
                )
            raise

    def _found(self, campaign: Mapping[str, Any]) -> dict[str, Any] | None:
        """The campaign as SessionM has it; None where it has none."""
        from airflow_provider_optimove.clients.sessionm.endpoints import CAMPAIGN_NOT_FOUND
        from airflow_provider_optimove.clients.sessionm.opt_ins import refused_as
        from airflow_provider_optimove.clients.sessionm.protocol import id_of_campaign, times_that_differ
        from airflow_provider_optimove.exceptions import SessionMError

        try:
            found = self.hook.campaign_info(permalink=campaign["external_id"])
        except SessionMError as error:
            if refused_as(error, *CAMPAIGN_NOT_FOUND):
                self._was_not_found = True
                return None
            raise
        if id_of_campaign(found) is None:
            raise SessionMError(
                f"an earlier try may have created the campaign {campaign['external_id']!r}, and SessionM's answer about"
                " it has no id. Nothing was created now; the next try asks again",
                function=CREATE,
                may_have_happened=True,
            )
        if self._names_an_id and (differ := times_that_differ(campaign, found)):
            raise SessionMError(
                f"another campaign has the external_id {campaign['external_id']!r}: its {', its '.join(differ)} (UTC)."
                " Nothing was created now",
                function=CREATE,
                permanent=True,
            )
        return _facts_of(found, campaign)


class SessionMOptInOperator(SessionMWriteOperator):
    """Opt customers into a campaign, one call each.

    All customers are checked before the first call; whoever is named several times is opted in once. On Airflow 3.3
    and later the task remembers how far it came: a retry, also after its worker was killed, goes on from there.
    Customers who were on their way at that moment are in doubt: SessionM is asked for their progress, and only those
    who do not take part are opted in.

    A customer whom SessionM refuses does not hold up the others.

    :param campaign_id: the campaign, by SessionM's number; it must require opt-ins.
    :param user_ids: the customers by SessionM's ids: a list, or the path of a file. Rows are ids, or have a
        ``user_id`` beside any other fields.
    :param external_ids: the customers by ids of another system, instead; rows have an ``external_id``.
    :param durable: remember between tries who was opted in.
    :param on_uncertain: what becomes of customers who may have been opted in before: SessionM is asked whether they
        take part (``check``), the task stops (``fail``), or they are opted in again (``resend``).
    :param results_path: file for what became of each customer, as JSON Lines with ``row`` (number), ``user_id`` or
        ``external_id``, ``result`` (``opted_in``, ``was_opted_in`` or ``refused``) and ``code`` (SessionM's reason).
    :param fail_on_rejected: whether the task fails at the end when customers were refused.
    :param max_rejected: refused customers at which it stops: then the campaign is wrong rather than the customers.
    :param object_storage_conn_id: connection of the object storage, where paths need one.
    :param sessionm_conn_id: the connection.
    :returns: (XCom) ``{"campaign_id", "customers", "opted_in", "refused", "codes", "calls", "resumed"}``.
    """

    template_fields: Sequence[str] = (
        *("sessionm_conn_id", "campaign_id", "user_ids", "external_ids"),
        *("results_path", "object_storage_conn_id"),
    )
    user_ids = RowsField()
    external_ids = RowsField()

    def __init__(
        self,
        *,
        campaign_id: int | str,
        user_ids: Any = None,
        external_ids: Any = None,
        durable: bool = True,
        on_uncertain: Literal["check", "fail", "resend"] = "check",
        results_path: str | None = None,
        fail_on_rejected: bool = True,
        max_rejected: int = 100,
        object_storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices(
            OPT_IN,
            on_uncertain=(on_uncertain, ("check", "fail", "resend")),
            max_rejected=(max_rejected, range(1, sys.maxsize)),
        )
        self.campaign_id = campaign_id
        self.user_ids = user_ids
        self.external_ids = external_ids
        self.durable = durable
        self.on_uncertain: Literal["check", "fail", "resend"] = on_uncertain
        self.results_path = results_path
        self.fail_on_rejected = fail_on_rejected
        self.max_rejected = max_rejected
        self.object_storage_conn_id = object_storage_conn_id

    def write(self, context: Context) -> tuple[dict[str, Any], Callable[[], None]]:
        """Check the customers and opt them in."""
        from airflow_provider_optimove.clients.sessionm.opt_ins import OptInPolicy, OptIns
        from airflow_provider_optimove.clients.sessionm.protocol import request_of
        from airflow_provider_optimove.operators.task_journal import is_last_try, is_retry
        from airflow_provider_optimove.storage.row_report import RowReport

        paths = {"user_ids": self.user_ids, "external_ids": self.external_ids, "results_path": self.results_path}
        check_paths(paths, function=OPT_IN)
        kind, customers = customers_of(
            self.user_ids, self.external_ids, function=OPT_IN, conn_id=self.object_storage_conn_id, log=self.log
        )
        # What it would refuse at the first customer.
        request_of(OPT_IN, {"campaign_id": self.campaign_id, kind: "any"}, api_key="any")
        client = self.hook.client
        calls_before = client.calls_made
        opt_ins = OptIns(
            client,
            self.campaign_id,
            customers,
            kind,
            journal=self.journal_of(context, OPT_IN_KEY),
            report=RowReport(self.results_path, self.object_storage_conn_id) if self.results_path else None,
            policy=OptInPolicy(
                on_uncertain=self.on_uncertain,
                fail_on_rejected=self.fail_on_rejected,
                max_rejected=self.max_rejected,
                durable=self.durable,
                earlier_tries=is_retry(context),
                last_try=is_last_try(context),
            ),
            log=self.log,
        )
        outcome = opt_ins.run()
        summary = {
            "campaign_id": int(self.campaign_id),
            "customers": len(customers),
            "opted_in": outcome.opted_in,
            "refused": outcome.refused,
            "codes": dict(outcome.codes),
            "calls": client.calls_made - calls_before,
            "resumed": outcome.resumed,
        }
        return summary, opt_ins.finish


def customers_of(
    user_ids: Any, external_ids: Any, *, function: str, conn_id: str | None, log: Log
) -> tuple[CustomerKind, list[Customer]]:
    """The customers that one of two arguments names.

    :param user_ids: the customers by SessionM's ids, or None.
    :param external_ids: the customers by ids of another system, or None.
    :param function: what they are for, as an error names it.
    :param conn_id: the Airflow connection of the storage, where the value is a path.
    :param log: the task's.
    :returns: what their ids are, and the customers, nobody twice.
    :raises OptimoveInputError: not exactly one is given, or rows of it are not valid, with their numbers.
    """
    from airflow_provider_optimove.clients.sessionm.opt_ins import Customer

    if (user_ids is None) == (external_ids is None):
        found = "none" if user_ids is None else "both"
        problem = f"user_ids, external_ids: expected exactly one, which names the customers; got {found}"
        raise OptimoveInputError("the arguments are not valid", function=function, problems=[problem])
    kind: CustomerKind = "external_id" if user_ids is None else "user_id"
    field, value = f"{kind}s", external_ids if user_ids is None else user_ids
    stretches = stretches_of(field, value, function=function, conn_id=conn_id)
    ids = ids_of(stretches, kind, source=field, function=function)
    if problems := [f"row {row:,}: {id!r} cannot stand in an address" for row, id in enumerate(ids, 1) if id in PATHS]:
        raise OptimoveInputError(f"{field}: rows are not valid", function=function, problems=problems)
    first: dict[str, int] = {}
    for row, customer in enumerate(ids, 1):
        first.setdefault(customer, row)
    again = len(ids) - len(first)
    repeated = f"; {count_of(again)} name one of them again" if again else ""
    log.info("%s: %s customer%s%s", function, f"{len(first):,}", "" if len(first) == 1 else "s", repeated)
    if not first:
        log.warning("%s: %s holds no rows", function, field)
    return kind, [Customer(row, customer) for customer, row in first.items()]


def hook_of(conn_id: str) -> SessionMHook:
    """The hook of a connection."""
    from airflow_provider_optimove.hooks.sessionm import SessionMHook

    return SessionMHook(conn_id)


def _facts_of(created: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """What the task returns of a campaign.

    :param created: what SessionM answered; when it is asked for a campaign, it names neither ``name`` nor ``status``.
    :param sent: what was sent.
    """
    from airflow_provider_optimove.clients.sessionm.protocol import id_of_campaign

    return {
        "id": id_of_campaign(created),
        **{name: created.get(name, sent[name]) for name in ("external_id", "name", "status")},
    }
