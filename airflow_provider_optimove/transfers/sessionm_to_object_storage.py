"""SessionM's campaigns → a file, on this machine or in an object storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_optimove.exceptions import MOST_PROBLEMS_SHOWN
from airflow_provider_optimove.hooks.task_arguments import check_choices, got_text, is_text_of_value
from airflow_provider_optimove.operators.rows_argument import RowsField, check_paths
from airflow_provider_optimove.operators.sessionm import customers_of, hook_of
from airflow_provider_optimove.transfers.to_object_storage import Pieces, ToObjectStorageOperator, pieces_of

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.sessionm.opt_ins import Customer, CustomerKind
    from airflow_provider_optimove.hooks.sessionm import SessionMHook
    from airflow_provider_optimove.storage.shaping import Kind

ACTIVE, OF_CUSTOMER = "active_campaigns", "campaigns_of_customer"

ACTIVE_FIELDS: Mapping[str, Kind] = {
    "id": "integer",
    "external_id": "text",
    "name": "text",
    "starts_at": "time",
    "ends_at": "time",
    "status": "text",
    "campaign_type": "text",
    "template": "text",
    "metadata": "json",
    "total_budget": "integer",
    "weight": "integer",
    "division_id": "text",
    "ssap_name": "text",
    "optin_required": "boolean",
    "opt_in_starts_at": "time",
    "opt_in_ends_at": "time",
    "reporting_ends_at": "time",
    "targeting": "json",
    "qualify_tag": "text",
    "disqualify_tag": "text",
}
CUSTOMER_FIELDS: Mapping[str, Kind] = {
    "kind": "text",
    "campaign_id": "integer",
    "name": "text",
    "group_id": "integer",
    "creative_id": "integer",
    "start_date": "time",
    "end_date": "time",
    "opt_in_starts_at": "time",
    "opt_in_ends_at": "time",
    "permalink": "text",
    "template": "json",
    "progress": "json",
    "behaviors": "json",
    "version": "text",
    "division_id": "text",
}


class SessionMCampaignsToObjectStorageOperator(ToObjectStorageOperator):
    """Read campaigns into a file: JSON Lines, CSV or Parquet. All active ones, or those of customers.

    Of customers, a row is a campaign of one of them: the customer's id, its ``kind`` (``tile`` or ``promotion``), and
    the campaign as SessionM has it. Each customer is a call. A customer without campaigns has no row, and is counted.

    The base class has the arguments of the file.

    :param path: where the file goes; see :class:`ToObjectStorageOperator`.
    :param user_ids: the customers by SessionM's ids: a list, or the path of a file. Rows are ids, or have a
        ``user_id`` beside any other fields.
    :param external_ids: the customers by ids of another system, instead; rows have an ``external_id``. With neither,
        the file holds all active campaigns.
    :param division_ids: only campaigns of these divisions.
    :param on_missing: whether a customer whom SessionM does not know is left out and counted (``skip``), or the task
        fails, without a file (``fail``). When it knows none of them, the task fails in any case: then the ids are of
        another kind, or of another account.
    :param sessionm_conn_id: the connection.
    :returns: (XCom) ``{"path", "rows", "bytes"}``; of customers also ``customers``, how many were asked for,
        ``missing``, how many of them SessionM does not know, and ``without_campaigns``.
    :raises OptimoveInputError: arguments that are not valid; nothing was called.
    :raises SessionMError: a call failed.
    """

    template_fields: Sequence[str] = (
        *ToObjectStorageOperator.template_fields,
        *("user_ids", "external_ids", "division_ids", "sessionm_conn_id"),
    )
    user_ids = RowsField()
    external_ids = RowsField()

    def __init__(
        self,
        *,
        path: str,
        user_ids: Any = None,
        external_ids: Any = None,
        division_ids: Sequence[str] = (),
        on_missing: Literal["skip", "fail"] = "skip",
        sessionm_conn_id: str = "sessionm_default",
        **kwargs: Any,
    ) -> None:
        self.function = ACTIVE if user_ids is None and external_ids is None else OF_CUSTOMER
        super().__init__(path=path, **kwargs)
        check_choices(self.function, on_missing=(on_missing, ("skip", "fail")))
        self.user_ids = user_ids
        self.external_ids = external_ids
        self.division_ids = division_ids
        self.on_missing = on_missing
        self.sessionm_conn_id = sessionm_conn_id

    @cached_property
    def hook(self) -> SessionMHook:
        """The hook of the connection."""
        return hook_of(self.sessionm_conn_id)

    @cached_property
    def _customers(self) -> tuple[CustomerKind, list[Customer]]:
        return customers_of(
            self.user_ids, self.external_ids, function=self.function, conn_id=self.object_storage_conn_id, log=self.log
        )

    def transfer(self) -> Any:
        """Read and write; returns what the task returns."""
        paths = {"user_ids": self.user_ids, "external_ids": self.external_ids, "path": self.path}
        check_paths(paths, function=self.function)
        if is_text_of_value(self.division_ids):
            raise self.not_valid(f"division_ids: expected a list, {got_text('list')}")
        return super().transfer()

    def fields(self) -> Mapping[str, Kind]:
        """The documented fields of a campaign."""
        if self.function == ACTIVE:
            return ACTIVE_FIELDS
        kind, _ = self._customers
        return {kind: "text", **CUSTOMER_FIELDS}

    def source(self) -> str:
        """The campaigns of the account."""
        return f"sessionm://{urlsplit(self.hook.client.settings.http.base_url).netloc}/{self.function}"

    def pieces(self) -> Pieces:
        """Read the campaigns."""
        if self.function == ACTIVE:
            yield from pieces_of(self.hook.active_campaigns(self.division_ids))
            return {}
        kind, customers = self._customers
        counts = {"customers": len(customers), "missing": 0, "without_campaigns": 0}
        yield from pieces_of(self._rows(kind, customers, counts))
        if counts["missing"] and counts["missing"] == len(customers):
            raise self._none_known(kind, len(customers))
        if counts["missing"]:
            self.log.warning("%s: SessionM does not know %s customers", self.function, f"{counts['missing']:,}")
        return counts

    def _none_known(self, kind: CustomerKind, count: int) -> Exception:
        from airflow_provider_optimove.exceptions import SessionMError

        other = "external_ids" if kind == "user_id" else "user_ids"
        return SessionMError(
            f"SessionM knows none of the {count:,} customers, so no file was written. Are their ids {kind}s, and not"
            f" {other}? Are they of this account?",
            function=self.function,
            permanent=True,
        )

    def _rows(
        self, kind: CustomerKind, customers: Sequence[Customer], counts: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        """The campaigns of one customer after the other."""
        from airflow_provider_optimove.clients.long_writes import Pace
        from airflow_provider_optimove.clients.sessionm.protocol import campaign_rows

        pace = Pace(0, "customers")
        for number, customer in enumerate(customers, 1):
            campaigns = self._campaigns_of(kind, customer)
            rows = list(campaign_rows(campaigns or {}, {kind: customer.id}))
            if campaigns is None:
                counts["missing"] += 1
                if counts["missing"] <= MOST_PROBLEMS_SHOWN:
                    self.log.warning("%s: SessionM does not know the customer of row %s", self.function, customer.row)
            counts["without_campaigns"] += campaigns is not None and not rows
            yield from rows
            if told := pace.after(number, len(customers), now=False):
                self.log.info("%s: %s of %s customers, %s", self.function, f"{number:,}", f"{len(customers):,}", told)

    def _campaigns_of(self, kind: CustomerKind, customer: Customer) -> Mapping[str, Any] | None:
        """A customer's campaigns; None where SessionM does not know the customer."""
        from airflow_provider_optimove.clients.sessionm.endpoints import NO_ACTIVE_CAMPAIGN_FOUND, USER_NOT_FOUND
        from airflow_provider_optimove.clients.sessionm.opt_ins import refused_as
        from airflow_provider_optimove.exceptions import SessionMError

        try:
            return self.hook.campaigns_of_customer(**{kind: customer.id}, division_ids=self.division_ids)
        except SessionMError as error:
            if refused_as(error, NO_ACTIVE_CAMPAIGN_FOUND):
                return {}
            if not refused_as(error, USER_NOT_FOUND) or self.on_missing == "fail":
                error.add(f"on the customer of row {customer.row:,}")
                raise
            return None
