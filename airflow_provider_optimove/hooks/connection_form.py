"""The connection form of Airflow before 3.2, drawn from the provider info that later ones read themselves."""

from __future__ import annotations

from typing import Any

from airflow_provider_optimove.get_provider_info import get_provider_info


def form_widgets(conn_type: str) -> dict[str, Any]:
    """What ``get_connection_form_widgets`` of a hook returns.

    :param conn_type: a connection type of the provider.
    :returns: a form field for each extra, by the extra's name.
    """
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import NumberRange, Optional, any_of

    def field(described: dict[str, Any]) -> Any:
        schema = described["schema"]
        label = lazy_gettext(described["label"])
        common = {"description": described["description"], "default": schema.get("default")}
        # Without Optional an empty field is refused.
        validators = [Optional()]
        kind = schema["type"][0]
        if kind == "boolean":
            return BooleanField(label, **common)
        if kind == "integer":
            validators.append(NumberRange(min=schema.get("minimum"), max=schema.get("maximum")))
            return IntegerField(label, validators=validators, widget=BS3TextFieldWidget(), **common)
        if schema.get("format") == "password":
            return PasswordField(label, validators=validators, widget=BS3PasswordFieldWidget(), **common)
        if "enum" in schema:
            validators.append(any_of(schema["enum"]))
        return StringField(label, validators=validators, widget=BS3TextFieldWidget(), **common)

    return {name: field(described) for name, described in _connection(conn_type)["conn-fields"].items()}


def field_behaviour(conn_type: str) -> dict[str, Any]:
    """What ``get_ui_field_behaviour`` of a hook returns.

    :param conn_type: a connection type of the provider.
    :returns: hidden fields, labels and placeholders.
    """
    behaviour = _connection(conn_type)["ui-field-behaviour"]
    return {
        "hidden_fields": list(behaviour["hidden-fields"]),
        "relabeling": dict(behaviour["relabeling"]),
        "placeholders": dict(behaviour["placeholders"]),
    }


def extra_fields(conn_type: str) -> frozenset[str]:
    """The names of the extras that a connection of this type can have.

    :param conn_type: a connection type of the provider.
    """
    return frozenset(_connection(conn_type)["conn-fields"])


def _connection(conn_type: str) -> dict[str, Any]:
    connections: Any = get_provider_info()["connection-types"]
    return next(connection for connection in connections if connection["connection-type"] == conn_type)
