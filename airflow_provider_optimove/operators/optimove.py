"""Operators of Optimove's write functions."""

from __future__ import annotations

from typing import Any

from airflow_provider_optimove.operators.batched_write import OptimoveBatchedWriteOperator, RowsField


class OptimoveAddPromotionsOperator(OptimoveBatchedWriteOperator):
    """Add promotions that campaigns can then use (AddPromotions); the name of a known code is replaced.

    :param promotions: a list of rows with ``PromoCode`` and ``PromotionName``, or an XCom that holds one.
    :param batch_size: promotions a call, 1 to 100; None for 100.
    :param optimove_conn_id: Airflow connection of type ``optimove``.
    :returns: (XCom) ``{"function", "rows", "batches", "calls", "rejected", "resumed_rows"}``, numbers but for the
        first; ``calls`` counts repeated ones too.
    :raises OptimoveInputError: rows are not valid; names them by number, and nothing was sent.
    :raises OptimoveError: a call failed; see the errors of :class:`OptimoveHook`. The log says which rows were sent.
    """

    template_fields = (*OptimoveBatchedWriteOperator.template_fields, "promotions")
    function = "AddPromotions"
    promotions = RowsField()

    def __init__(self, *, promotions: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promotions = promotions
