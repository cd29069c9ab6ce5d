from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from pkgutil import resolve_name
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import Connection
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS
from airflow.providers_manager import ProvidersManager

from airflow_provider_optimove import get_provider_info as module
from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.get_provider_info import get_provider_info
from airflow_provider_optimove.hooks.connection_form import field_behaviour, form_widgets

INFO: Any = get_provider_info()
CONNECTIONS = {connection["connection-type"]: connection for connection in INFO["connection-types"]}
# The fields of a connection that users write, in the URI and JSON forms too.
OF_ALL = {
    "allow_http",
    "connect_timeout",
    "proxies",
    "read_timeout",
    "retry_limit",
    "total_timeout",
    "verify",
}
EXTRAS = {
    "optimove": OF_ALL | {"api_path", "listener_secret", "rate_limit", "session_cache", "timezone"},
    "netmera": OF_ALL,
    "sessionm": OF_ALL,
    "sticky_street": OF_ALL | {"account_id", "key_in_header"},
}
# What a connection needs beside its host.
CREDENTIALS: dict[str, dict[str, Any]] = {
    "optimove": {"password": "key"},
    "netmera": {"login": "app", "password": "key"},
    "sessionm": {"login": "key", "password": "not-a-real-secret"},
    "sticky_street": {"login": "user", "password": "not-a-real-password"},
}

of_each_type = pytest.mark.parametrize("conn_type", EXTRAS)


def fields_of(conn_type: str) -> Any:
    return CONNECTIONS[conn_type]["conn-fields"]


def behaviour_of(conn_type: str) -> Any:
    return CONNECTIONS[conn_type]["ui-field-behaviour"]


def settings_of(connection: Connection) -> Any:
    hook: Any = resolve_name(CONNECTIONS[connection.conn_type]["hook-class-name"])
    return hook.settings_of(connection)


def test_airflow_finds_the_provider_info() -> None:
    (entry_point,) = (
        entry
        for entry in entry_points(group="apache_airflow_provider")
        if entry.value.startswith("airflow_provider_opt")
    )
    assert entry_point.load()() == INFO


def test_it_follows_airflows_schema() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_it_imports_nothing() -> None:
    source = ast.parse((files("airflow_provider_optimove") / "get_provider_info.py").read_text())
    assert module.__file__ is not None
    assert not [node for node in ast.walk(source) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize(
    "name",
    [
        name
        for kind in ("operators", "sensors", "hooks", "triggers")
        for entry in INFO[kind]
        for name in entry["python-modules"]
    ]
    + [entry["python-module"] for entry in INFO["transfers"]],
)
def test_its_modules_exist(name: str) -> None:
    assert importlib.util.find_spec(name)


def test_the_connection_types() -> None:
    assert set(CONNECTIONS) == set(EXTRAS)


@of_each_type
def test_the_form_has_every_field(conn_type: str) -> None:
    assert set(fields_of(conn_type)) == EXTRAS[conn_type]
    for name, field in fields_of(conn_type).items():
        assert field["label"], name
        assert field["description"], name
        # Without "null" the form shows a field as required.
        assert "null" in field["schema"]["type"], name


@of_each_type
def test_placeholders_and_labels_stand_at_fields_of_the_form(conn_type: str) -> None:
    standard = {"host", "login", "password"}
    assert set(behaviour_of(conn_type)["relabeling"]) == standard
    assert set(behaviour_of(conn_type)["placeholders"]) <= standard | EXTRAS[conn_type]


@of_each_type
def test_the_provider_is_registered(conn_type: str) -> None:
    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call]
    assert "airflow-provider-optimove" in manager.providers
    info = manager.hooks[conn_type]
    assert info is not None
    assert info.hook_name == CONNECTIONS[conn_type]["hook-name"]
    assert info.hook_class_name == CONNECTIONS[conn_type]["hook-class-name"]
    assert info.connection_id_attribute_name == f"{conn_type}_conn_id"
    prefix = f"extra__{conn_type}__"
    assert {name for name in manager.connection_form_widgets if name.startswith(prefix)} == {
        f"{prefix}{name}" for name in EXTRAS[conn_type]
    }
    shown = manager.field_behaviours[conn_type]
    assert shown["hidden_fields"] == behaviour_of(conn_type)["hidden-fields"]
    assert shown["relabeling"] == behaviour_of(conn_type)["relabeling"]


@of_each_type
def test_form_of_airflow_2_has_the_same_behaviour(conn_type: str) -> None:
    assert field_behaviour(conn_type) == {
        "hidden_fields": behaviour_of(conn_type)["hidden-fields"],
        "relabeling": behaviour_of(conn_type)["relabeling"],
        "placeholders": behaviour_of(conn_type)["placeholders"],
    }


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 comes without WTForms")
@of_each_type
def test_form_of_airflow_2_has_the_same_fields(conn_type: str) -> None:
    from flask import Flask
    from flask_babel import Babel
    from werkzeug.datastructures import MultiDict
    from wtforms import BooleanField, Form, IntegerField, PasswordField, StringField

    kinds = {"boolean": BooleanField, "integer": IntegerField, "string": StringField}
    app = Flask(__name__)
    Babel(app)
    with app.app_context():
        form = type("ConnectionForm", (Form,), dict(form_widgets(conn_type)))()
        assert form.validate(), form.errors
        assert set(form._fields) == EXTRAS[conn_type]
        for name, described in fields_of(conn_type).items():
            field = form[name]
            kind = PasswordField if "format" in described["schema"] else kinds[described["schema"]["type"][0]]
            assert type(field) is kind, name
            assert str(field.label.text) == described["label"]
            assert field.description == described["description"]
            assert field.default == described["schema"].get("default")
        form.process(MultiDict({"session_cache": "disk", "retry_limit": "-1"}))
        assert not form.validate()
        assert set(form.errors) == {"session_cache", "retry_limit"} & EXTRAS[conn_type]


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 draws the form from the hook")
@pytest.mark.usefixtures("airflow_db")
@of_each_type
def test_the_form_that_airflow_3_draws(conn_type: str) -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (drawn,) = (meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == conn_type)
    assert drawn.hook_name == CONNECTIONS[conn_type]["hook-name"]
    standard = drawn.standard_fields
    assert standard is not None
    assert standard.host is not None
    assert standard.host.title == behaviour_of(conn_type)["relabeling"]["host"]
    assert standard.host.placeholder == behaviour_of(conn_type)["placeholders"]["host"]
    assert standard.url_schema is not None
    assert standard.url_schema.hidden
    assert drawn.extra_fields is not None
    assert set(drawn.extra_fields) == EXTRAS[conn_type]
    for name, described in fields_of(conn_type).items():
        field = drawn.extra_fields[name]
        assert field["schema"]["title"] == described["label"]
        assert field["schema"]["type"] == described["schema"]["type"]
        assert field["value"] == described["schema"].get("default"), f"{name} is masked"
        assert field["schema"].get("format") == ("password" if name == "listener_secret" else None)


@pytest.mark.skipif(not AIRFLOW_V_3_2_PLUS, reason="until 3.1 the form came from the hook")
def test_drawing_the_form_imports_no_hook() -> None:
    code = (
        "import sys\n"
        "from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService\n"
        "before = 'requests' in sys.modules\n"
        "names = [meta.connection_type for meta in HookMetaService.hook_meta_data()]\n"
        "assert 'optimove' in names, names\n"
        "assert not [name for name in sys.modules if name.startswith('airflow_provider_optimove.hooks')]\n"
        "assert ('requests' in sys.modules) is before\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@of_each_type
def test_the_hook_takes_what_the_form_shows(conn_type: str) -> None:
    placeholders = behaviour_of(conn_type)["placeholders"]
    shown = {name: value for name, value in placeholders.items() if name in EXTRAS[conn_type] and name != "proxies"}
    host = placeholders["host"].removesuffix(" when empty")
    # Without it there is no account.
    needed = {name: value for name, value in shown.items() if name == "account_id"}

    def connection(extra: Any) -> Connection:
        return Connection(
            conn_id="form", conn_type=conn_type, host=host, extra=json.dumps(extra), **CREDENTIALS[conn_type]
        )

    assert settings_of(connection(shown)) == settings_of(connection(needed))


@of_each_type
def test_an_empty_host_is_the_systems_own_where_it_has_one(conn_type: str) -> None:
    placeholder = behaviour_of(conn_type)["placeholders"]["host"]
    extra = json.dumps({"account_id": "account"} if conn_type == "sticky_street" else {})
    empty = Connection(conn_id="form", conn_type=conn_type, extra=extra, **CREDENTIALS[conn_type])
    if placeholder.endswith(" when empty"):
        assert settings_of(empty).http.base_url == placeholder.removesuffix(" when empty")
    else:
        with pytest.raises(OptimoveInputError, match="host: missing"):
            settings_of(empty)


def test_the_rate_limit_can_be_switched_off_in_the_form() -> None:
    from airflow_provider_optimove.clients.optimove.rate_limit import parse_rate_limit

    # Forms of Airflow drop an empty field, so there must be a word for it.
    off = Connection(
        conn_id="form", conn_type="optimove", host="h", password="key", extra=json.dumps({"rate_limit": "off"})
    )
    assert not parse_rate_limit(settings_of(off).rate_limit)
