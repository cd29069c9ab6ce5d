"""Every hour: who changed her mind about e-mail in Sticky Street is e-mailed, or not any more, by Optimove's campaigns.

Each run reads the customers that are new or changed since the run before. One of their fields says whether they want
e-mail, another one is their CustomerID at Optimove; who says neither yes nor no is left as she is. Where rows of the
same customer say both, it is no.

What a run has read is what customers wished then. So when a run has failed and a later one has read on, nothing of the
older one is sent any more: clear its ``changed_customers``, which reads anew from where it began, with all after it.

Copy this file into your dags folder. It needs the connections ``sticky_street_default`` and ``optimove_default``, and
your words for yes and no in ``wants_mail``. The first run reads all customers; to begin later, set the Airflow Variable
that keeps the id before you switch the DAG on::

    airflow variables set sticky_street_last.sticky_street_changed_customers.changed_customers 12345

The files with customers stay in ``folder``, one folder a run: remove old ones as your rules for such data ask.
"""

from __future__ import annotations

import json
import os
from io import TextIOWrapper
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    ObjectStoragePath,
    Param,
    dag,
    get_current_context,
    task,
)

from airflow_provider_optimove.operators.optimove import OptimoveSetCustomerChannelPreferenceOperator
from airflow_provider_optimove.transfers.sticky_street_to_object_storage import (
    StickyStreetCustomersToObjectStorageOperator,
    kept_id,
)

AIRFLOW_HOME = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
ALLOWED, STOPPED = 1, 2
VARIABLE = "sticky_street_last.sticky_street_changed_customers.changed_customers"


def wants_mail(said: str) -> bool | None:
    """What a customer's field says: put your own words here.

    :param said: the value of the field.
    :returns: None where it says nothing.
    """
    return {"yes": True, "no": False}.get(said.strip().lower())


def refuse_what_is_overtaken(context: Any) -> None:
    """Fail where a later run has read on: it may have sent that a customer has changed her mind."""
    read = context["ti"].xcom_pull(task_ids="changed_customers")
    if read["rows"] and kept_id(VARIABLE) != read["last"]:
        raise AirflowFailException("a later run has read on: clear changed_customers of this run, and all after it")


@dag(
    dag_id="sticky_street_changed_customers",
    schedule="0 * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Not depends_on_past: a run that waits for a failed one is active, and keeps it from starting again.
    max_active_runs=1,
    default_args={"retries": 2},
    params={
        "folder": Param(f"{AIRFLOW_HOME}/sticky_street", type="string", description="Where files go, or a bucket"),
        "cursor_field": Param("id", type="string", description="Sticky Street's field of the id to go on from"),
        "customer_id_field": Param("customer_username", type="string", description="... of Optimove's CustomerID"),
        "wants_mail_field": Param("custom1", type="string", description="... that says who wants e-mail"),
        "channel_id": Param(504, type="integer", description="Optimove's channel that sends the e-mail"),
    },
    tags=["optimove", "sticky_street"],
    doc_md=__doc__,
)
def sticky_street_changed_customers() -> None:
    # The id to go on from moves when the file is complete; what the tasks below have not done yet is in the file.
    changed_customers = StickyStreetCustomersToObjectStorageOperator(
        task_id="changed_customers",
        path="{{ params.folder }}/{{ run_id }}/customers.jsonl",
        cursor_field="{{ params.cursor_field }}",
    )

    @task
    def sort_by_wish(changed: dict[str, Any]) -> dict[str, int]:
        """One file with the customers who want e-mail, and one with those who do not; nobody is in both."""
        params = get_current_context()["params"]
        source = ObjectStoragePath(changed["path"])
        counts = {"allowed": 0, "stopped": 0, "left": 0}
        wishes: dict[str, bool] = {}
        with TextIOWrapper(source.fs.open(source.path), "utf-8") as lines:
            for customer in map(json.loads, lines):
                customer_id = customer.get(params["customer_id_field"])
                wish = wants_mail(str(customer.get(params["wants_mail_field"], "")))
                if wish is None or not customer_id:
                    counts["left"] += 1
                else:
                    wishes[customer_id] = wish and wishes.get(customer_id, True)
        for name, wanted in (("allowed", True), ("stopped", False)):
            target = source.parent / f"{name}.jsonl"
            with target.fs.open(target.path, "wb") as file:
                for customer_id, wish in wishes.items():
                    if wish is wanted:
                        counts[name] += 1
                        file.write(json.dumps({"CustomerID": customer_id}).encode() + b"\n")
        print("{allowed} want e-mail, {stopped} do not, {left} say nothing".format(**counts))
        return counts

    # Nobody is in both files, so neither waits for the other: whatever becomes of a yes, a no is told.
    sorted_customers = sort_by_wish(changed_customers.output)
    for mode, name in ((ALLOWED, "allowed"), (STOPPED, "stopped")):
        sorted_customers >> OptimoveSetCustomerChannelPreferenceOperator(
            task_id=f"mail_{name}",
            channel_id="{{ params.channel_id }}",
            customer_ids=f"{{{{ params.folder }}}}/{{{{ run_id }}}}/{name}.jsonl",
            communication_mode=mode,
            pre_execute=refuse_what_is_overtaken,
        )


sticky_street_changed_customers()
