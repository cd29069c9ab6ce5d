"""Model functions: customer attributes, lifecycle stages, microsegments."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict, Unpack

from airflow_provider_optimove.clients.optimove.functions.declaration import FunctionGroup, function
from airflow_provider_optimove.clients.optimove.functions.types import AttributeOptions, PageOptions


class CustomerAttribute(TypedDict):
    """An attribute that a request for customers may ask for."""

    RealFieldName: str
    Description: str


class LifecycleStage(TypedDict):
    """A lifecycle stage."""

    StageID: int
    StageName: str


class Microsegment(TypedDict):
    """A microsegment with its predicted rates."""

    MicrosegmentID: int
    MicrosegmentName: str
    LifecycleStageID: int
    FutureValue: float
    ChurnRate: float
    ReactivationRate: float
    ConversionProbability: float


class MicrosegmentChanger(TypedDict):
    """A customer whose microsegment changed."""

    CustomerID: str
    InitialMicrosegmentID: int
    FinalMicrosegmentID: int
    CustomerAttributes: NotRequired[list[str]]


class ModelFunctions(FunctionGroup):
    """The functions below ``model/``."""

    @function("model")
    def get_customer_attribute_list(self, **options: Unpack[AttributeOptions]) -> list[CustomerAttribute]:
        """The customer attributes that other functions accept in ``customer_attributes``.

        :returns: one row an attribute.
        """
        ...

    @function("model")
    def get_lifecycle_stage_list(self, **options: Unpack[AttributeOptions]) -> list[LifecycleStage]:
        """All lifecycle stages.

        :returns: one row a stage.
        """
        ...

    @function("model")
    def get_microsegment_list(self, **options: Unpack[AttributeOptions]) -> list[Microsegment]:
        """All microsegments.

        :returns: one row a microsegment.
        """
        ...

    @function("model", paged=True)
    def get_microsegment_changers(self, **options: Unpack[PageOptions]) -> Iterator[MicrosegmentChanger]:
        """Customers whose microsegment changed on the newest day of data.

        :returns: one row a customer.
        """
        ...
