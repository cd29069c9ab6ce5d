from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import Connection
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS
from airflow.providers_manager import ProvidersManager

from airflow_provider_optimove import get_provider_info as module
from airflow_provider_optimove.get_provider_info import get_provider_info
from airflow_provider_optimove.hooks.connection_form import field_behaviour, form_widgets

INFO: Any = get_provider_info()
(CONNECTION,) = INFO["connection-types"]
FIELDS = CONNECTION["conn-fields"]
BEHAVIOUR = CONNECTION["ui-field-behaviour"]
# The fields of a connection that users write, in the URI and JSON forms too.
EXTRAS = {
    "allow_http",
    "api_path",
    "connect_timeout",
    "listener_secret",
    "proxies",
    "rate_limit",
    "read_timeout",
    "retry_limit",
    "session_cache",
    "timezone",
    "total_timeout",
    "verify",
}


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
    ],
)
def test_its_modules_exist(name: str) -> None:
    assert importlib.util.find_spec(name)


def test_the_form_has_every_field() -> None:
    assert set(FIELDS) == EXTRAS
    for name, field in FIELDS.items():
        assert field["label"], name
        assert field["description"], name
        # Without "null" the form shows a field as required.
        assert "null" in field["schema"]["type"], name


def test_placeholders_and_labels_stand_at_fields_of_the_form() -> None:
    standard = {"host", "login", "password"}
    assert set(BEHAVIOUR["relabeling"]) == standard
    assert set(BEHAVIOUR["placeholders"]) <= standard | EXTRAS


def test_the_provider_is_registered() -> None:
    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call]
    assert "airflow-provider-optimove" in manager.providers
    info = manager.hooks["optimove"]
    assert info is not None
    assert info.hook_name == "Optimove"
    assert info.hook_class_name == CONNECTION["hook-class-name"]
    assert info.connection_id_attribute_name == "optimove_conn_id"
    assert {name for name in manager.connection_form_widgets if name.startswith("extra__optimove__")} == {
        f"extra__optimove__{name}" for name in EXTRAS
    }
    shown = manager.field_behaviours["optimove"]
    assert shown["hidden_fields"] == BEHAVIOUR["hidden-fields"]
    assert shown["relabeling"] == BEHAVIOUR["relabeling"]


def test_form_of_airflow_2_has_the_same_behaviour() -> None:
    assert field_behaviour("optimove") == {
        "hidden_fields": BEHAVIOUR["hidden-fields"],
        "relabeling": BEHAVIOUR["relabeling"],
        "placeholders": BEHAVIOUR["placeholders"],
    }


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 comes without WTForms")
def test_form_of_airflow_2_has_the_same_fields() -> None:
    from flask import Flask
    from flask_babel import Babel
    from werkzeug.datastructures import MultiDict
    from wtforms import BooleanField, Form, IntegerField, PasswordField, StringField

    kinds = {"boolean": BooleanField, "integer": IntegerField, "string": StringField}
    app = Flask(__name__)
    Babel(app)
    with app.app_context():
        form = type("ConnectionForm", (Form,), dict(form_widgets("optimove")))()
        assert form.validate(), form.errors
        assert set(form._fields) == EXTRAS
        for name, described in FIELDS.items():
            field = form[name]
            kind = PasswordField if "format" in described["schema"] else kinds[described["schema"]["type"][0]]
            assert type(field) is kind, name
            assert str(field.label.text) == described["label"]
            assert field.description == described["description"]
            assert field.default == described["schema"].get("default")
        form.process(MultiDict({"session_cache": "disk", "retry_limit": "-1"}))
        assert not form.validate()
        assert set(form.errors) == {"session_cache", "retry_limit"}


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 draws the form from the hook")
@pytest.mark.usefixtures("airflow_db")
def test_the_form_that_airflow_3_draws() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (drawn,) = (meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "optimove")
    assert drawn.hook_name == "Optimove"
    standard = drawn.standard_fields
    assert standard is not None
    assert standard.host is not None
    assert standard.host.title == "API server"
    assert standard.host.placeholder == "https://api5.optimove.net"
    assert standard.url_schema is not None
    assert standard.url_schema.hidden
    assert drawn.extra_fields is not None
    assert set(drawn.extra_fields) == EXTRAS
    for name, described in FIELDS.items():
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


def test_the_hook_takes_what_the_form_shows() -> None:
    from airflow_provider_optimove.hooks.optimove import settings_from_connection

    shown = {name: value for name, value in BEHAVIOUR["placeholders"].items() if name in EXTRAS and name != "proxies"}
    host = BEHAVIOUR["placeholders"]["host"]
    empty = settings_from_connection(Connection(conn_id="form", conn_type="optimove", host=host, password="key"))
    filled = Connection(conn_id="form", conn_type="optimove", host=host, password="key", extra=json.dumps(shown))
    assert settings_from_connection(filled) == empty


def test_the_rate_limit_can_be_switched_off_in_the_form() -> None:
    from airflow_provider_optimove.clients.optimove.rate_limit import parse_rate_limit
    from airflow_provider_optimove.hooks.optimove import settings_from_connection

    # Forms of Airflow drop an empty field, so there must be a word for it.
    off = Connection(
        conn_id="form", conn_type="optimove", host="h", password="key", extra=json.dumps({"rate_limit": "off"})
    )
    assert not parse_rate_limit(settings_from_connection(off).rate_limit)
