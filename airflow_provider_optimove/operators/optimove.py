"""Operators of Optimove's write functions."""

from __future__ import annotations

from typing import Any

from airflow_provider_optimove.operators.batched_write import OptimoveBatchedWriteOperator, RowsField


class OptimoveAddPromotionsOperator(OptimoveBatchedWriteOperator):
    """Add promotions that campaigns can then use (AddPromotions); the name of a known code is replaced.

    :param promotions: a list of rows with ``PromoCode`` and ``PromotionName``, or an XCom that holds one.
    :param batch_size: promotions a call, 1 to 100.
    """

    template_fields = (*OptimoveBatchedWriteOperator.template_fields, "promotions")
    function = "AddPromotions"
    promotions = RowsField()

    def __init__(self, *, promotions: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promotions = promotions
