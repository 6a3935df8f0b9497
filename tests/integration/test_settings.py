"""Settings where they are used: in a real server, in a process of `python -m`, in requests, and in all that shows them."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

import asyncio
import copy
import io
import json
import logging
import os
import pickle
import secrets
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from sqlalchemy import URL, create_engine, make_url, text

from layered_backend import DatabaseUnavailableError
from layered_backend.fastapi import add_error_handlers, get_settings
from layered_backend.settings import DatabaseSettings, SecuritySettings, Settings, SettingsError
from tests.databases import SERVERS
from tests.faults.clusters import or_skip, postgresql_cluster

_ROOT = Path(__file__).parents[2]
_TIME_LIMIT = 60  # seconds
_APPLICATION = """
from fastapi import FastAPI
from layered_backend.settings import DatabaseSettings, SecuritySettings

class ShopSettings(DatabaseSettings, SecuritySettings):
    jwt_issuer: str = "shop"
    jwt_audience: str = "shop"

settings = ShopSettings.load()
app = FastAPI()
"""


class ShopSettings(DatabaseSettings, SecuritySettings):
    jwt_issuer: str = "shop"
    jwt_audience: str = "shop"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LAYERED_ENV", *(name.upper() for name in ShopSettings.model_fields)):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.slow
class TestProcesses:
    """A process that lacks a variable ends with one line, whoever imports the application."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "shop_to_serve.py").write_text(_APPLICATION)
        return tmp_path

    def _run(self, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{folder}", **variables}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT,
            check=False,
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            ("-m", "shop_to_serve"),
            ("-c", "import shop_to_serve"),
            ("-m", "uvicorn", "shop_to_serve:app", "--port", "0"),
            ("-c", "import uvicorn; uvicorn.run('shop_to_serve:app', port=0)"),
            ("-c", "import uvicorn; uvicorn.Server(uvicorn.Config('shop_to_serve:app', port=0)).run()"),
        ],
        ids=["python -m", "import", "uvicorn", "uvicorn.run", "uvicorn.Server"],
    )
    def test_it_ends_with_one_line_and_no_traceback(self, folder: Path, arguments: tuple[str, ...]) -> None:
        done = self._run(folder, *arguments, SECRET_KEY=_PASSWORD[:31])

        assert done.returncode == 1
        assert done.stderr == (
            "SECRET_KEY is shorter than 32 bytes, make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"; '
            "DATABASE_URL is missing, set it to something like sqlite:///shop.db\n"
        )
        assert done.stdout == ""

    def test_with_the_variables_it_goes_on(self, folder: Path) -> None:
        done = self._run(folder, "-m", "shop_to_serve", DATABASE_URL="sqlite://", SECRET_KEY=secrets.token_urlsafe(48))

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestDependency:
    def test_a_request_has_the_settings_of_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class CurrencySettings(Settings):
            currency: str

        app = FastAPI()

        @app.get("/")
        async def read(settings: Annotated[CurrencySettings, Depends(get_settings(CurrencySettings))]) -> str:
            return settings.currency

        monkeypatch.setenv("CURRENCY", "CHF")
        loaded = CurrencySettings.load()
        monkeypatch.setenv("CURRENCY", "USD")

        with TestClient(app) as client:
            assert client.get("/").json() == "CHF"
        assert CurrencySettings.current() is loaded

    def test_a_test_gives_others_by_the_same_dependency(self) -> None:
        class CurrencySettings(Settings):
            currency: str

        app = FastAPI()

        @app.get("/")
        async def read(settings: Annotated[CurrencySettings, Depends(get_settings(CurrencySettings))]) -> str:
            return settings.currency

        other = CurrencySettings(currency="EUR")
        app.dependency_overrides[get_settings(CurrencySettings)] = lambda: other

        with TestClient(app) as client:
            assert client.get("/").json() == "EUR"

    def test_what_is_missing_is_told_to_the_log_and_not_to_the_client(self) -> None:
        class MissingSettings(Settings):
            currency: str

        app = FastAPI()
        add_error_handlers(app)

        @app.get("/")
        async def read(settings: Annotated[MissingSettings, Depends(get_settings(MissingSettings))]) -> None: ...

        with TestClient(app, raise_server_exceptions=False) as client:
            response = client.get("/")
        with TestClient(app) as client, pytest.raises(SettingsError, match="CURRENCY is missing, set it"):
            client.get("/")

        assert (response.status_code, response.json()) == (500, {"detail": "Internal server error"})


_PASSWORD = "hunter2-" + secrets.token_urlsafe(12)
_KEY = secrets.token_urlsafe(48)
_OLD_KEY = secrets.token_urlsafe(48)
_SECRETS = (_PASSWORD, _KEY, _OLD_KEY)


def _without_secrets(variables: dict[str, str]) -> str:
    """Name a test by its variables: each process of pytest-xdist has secrets of its own, and must find the same names."""
    return str(variables).replace(_PASSWORD, "PASSWORD").replace(_KEY, "KEY")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> ShopSettings:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://shop:{_PASSWORD}@127.0.0.1:1/shop?passfile={_PASSWORD}")
    monkeypatch.setenv("DATABASE_SYNC_URL", f"postgresql://shop@127.0.0.1:1/shop?password={_PASSWORD}")
    monkeypatch.setenv("SECRET_KEYS", json.dumps({"2026-11": _KEY, "2026-05": _OLD_KEY}))
    return ShopSettings.model_validate({})


def _logged(settings: ShopSettings) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tests.settings")
    logger.addHandler(handler)
    try:
        logger.warning("%s %r %s", settings, settings, vars(settings))
        logger.warning(settings)
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


_SHOWN: Mapping[str, Callable[[ShopSettings], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda settings: f"{settings}{settings!r}{settings!s}",
    "model_dump": lambda settings: settings.model_dump(),
    "model_dump for JSON": lambda settings: settings.model_dump(mode="json"),
    "model_dump_json": lambda settings: settings.model_dump_json(),
    "dict": dict,
    "vars": vars,
    "model_json_schema": lambda settings: settings.model_json_schema(),
    "fields": lambda settings: type(settings).model_fields,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda settings: settings.model_copy(update={"jwt_leeway": 5}),
    "pickled": lambda settings: pickle.loads(pickle.dumps(settings)),  # noqa: S301  # our own
    "iterated": lambda settings: [*settings],
    "keys": lambda settings: settings.token_keys,
    "database": lambda settings: settings.database(),
    "engine": lambda settings: settings.database().engine,
    "synchronous engine": lambda settings: settings.database().sync_engine,
    "serialized": lambda settings: TypeAdapter(ShopSettings).dump_json(settings),
    "logged": _logged,
}


class TestSecrets:
    """No way of showing settings, or what went wrong with them, shows a secret."""

    @pytest.mark.parametrize("show", _SHOWN.values(), ids=[*_SHOWN])
    def test_what_is_shown_has_none(self, settings: ShopSettings, show: Callable[[ShopSettings], object]) -> None:
        shown = show(settings)

        assert [secret for secret in _SECRETS if secret in f"{shown}{shown!r}"] == []

    def test_what_is_dumped_says_that_something_is_there(self, settings: ShopSettings) -> None:
        assert json.loads(settings.model_dump_json())["secret_keys"] == {"2026-11": "*" * 10, "2026-05": "*" * 10}

    def test_a_default_of_the_applications_own_has_no_place_in_the_schema(self) -> None:
        class CarelessSettings(DatabaseSettings):
            database_url: SecretStr = SecretStr(f"postgresql://shop:{_PASSWORD}@h/d")

        assert (
            _PASSWORD not in f"{CarelessSettings.model_json_schema()}{CarelessSettings()!r}{CarelessSettings.__doc__}"
        )

    @pytest.mark.parametrize(
        "variables",
        [
            {"DATABASE_URL": _PASSWORD},
            {"DATABASE_URL": f"{_PASSWORD}://h/d"},
            {"DATABASE_URL": f"postgresql+{_PASSWORD}://h/d"},
            {"DATABASE_URL": f"postgresql://h:{_PASSWORD}/d"},
            {"DATABASE_URL": f"oracle://u:{_PASSWORD}@h/d"},
            {"DATABASE_SYNC_URL": f"postgresql://u@h:{_PASSWORD}/d"},
            {"DATABASE_URL": f"sqlite:///{_PASSWORD}", "DATABASE_PGBOUNCER": "1", "DATABASE_STATEMENT_TIMEOUT": "5"},
            {"DATABASE_POOL_SIZE": _PASSWORD},
            {"DATABASE_PGBOUNCER": _PASSWORD},
            {"LAYERED_ENV": _PASSWORD},
            {"JWT_ALGORITHM": _PASSWORD},
            {"SECRET_KEY": _PASSWORD},
            {"SECRET_KEY": _KEY, "SECRET_KEYS": json.dumps({"a": _KEY})},
            {"SECRET_KEY": "", "SECRET_KEYS": _KEY},
            {"SECRET_KEY": "", "SECRET_KEYS": f'{{"a": "{_KEY}"'},
            {"SECRET_KEY": "", "SECRET_KEYS": json.dumps({_KEY: "2026-11"})},
            {"SECRET_KEY": "", "SECRET_KEYS": json.dumps({"a": _KEY, "b": _PASSWORD})},
            {"SECRET_KEY": "", "SECRET_KEYS": json.dumps({"a": {"b": _KEY}})},
            {"SIGNING_KEY_ID": _PASSWORD},
        ],
        ids=_without_secrets,
    )
    def test_what_is_refused_is_not_shown(self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
        whole = {"DATABASE_URL": f"postgresql://u:{_PASSWORD}@h/d", "SECRET_KEY": _KEY}
        for name, value in (whole | variables).items():
            monkeypatch.setenv(name, value)

        with pytest.raises(SettingsError) as caught:
            ShopSettings.model_validate({})

        assert [secret for secret in _SECRETS if secret in _everything_of(caught.value)] == []
        assert not any(secret in value for value in _locals_of(caught.value) for secret in _SECRETS)

    def test_pydantics_own_error_shows_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Holder(BaseModel):
            settings: ShopSettings

        monkeypatch.setenv("DATABASE_URL", "sqlite://")
        monkeypatch.setenv("SECRET_KEY", _KEY)
        for wrong in ({"database_url": f"oracle://u:{_PASSWORD}@h/d"}, {"secret_key": _PASSWORD}):
            with pytest.raises((ValidationError, SettingsError)) as caught:
                Holder.model_validate({"settings": wrong})
            assert _PASSWORD not in _everything_of(caught.value)

        for validate in (ShopSettings.model_validate, ShopSettings.model_validate_json):
            with pytest.raises(ValidationError) as no_mapping:
                validate(_PASSWORD)
            assert _PASSWORD not in _everything_of(no_mapping.value)

    @pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "mariadb", "sqlite"])
    async def test_a_database_that_does_not_answer_tells_none(
        self, monkeypatch: pytest.MonkeyPatch, driver: str
    ) -> None:
        place = f"/nowhere/{_PASSWORD}.db" if driver == "sqlite" else f"shop:{_PASSWORD}@127.0.0.1:1/shop"
        await _assert_refusal_shows_nothing(monkeypatch, f"{driver}://{place}")

    @pytest.mark.parametrize("driver", ["mariadb", "mysql"])
    async def test_a_wrong_password_is_not_in_the_refusal_of_mariadb(
        self, monkeypatch: pytest.MonkeyPatch, driver: str
    ) -> None:
        url = make_url(SERVERS["mariadb"]).set(drivername=driver, password=_PASSWORD)

        await _assert_refusal_shows_nothing(
            monkeypatch, url.render_as_string(hide_password=False), "using password: YES"
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
    async def test_a_wrong_password_is_not_in_the_refusal_of_postgresql(
        self, monkeypatch: pytest.MonkeyPatch, driver: str, server_with_passwords: URL
    ) -> None:
        url = server_with_passwords.set(drivername=driver, username="shop", password=_PASSWORD)

        await _assert_refusal_shows_nothing(
            monkeypatch, url.render_as_string(hide_password=False), "password authentication failed"
        )


@pytest.fixture(scope="module")
def server_with_passwords() -> Iterator[URL]:
    """A PostgreSQL server that asks the user `shop` for a password, as the one of the tests may not."""
    with or_skip(), postgresql_cluster() as cluster:
        engine = create_engine(cluster.url)
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE shop LOGIN PASSWORD 'the right one'"))
        engine.dispose()
        rules = "host all shop 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        (cluster.folder / "data" / "pg_hba.conf").write_text(rules)
        cluster.restart("fast")
        yield cluster.url


async def _assert_refusal_shows_nothing(monkeypatch: pytest.MonkeyPatch, url: str, because: str = "") -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    async with DatabaseSettings.model_validate({}).database() as database:
        for ping in (database.ping, lambda: asyncio.to_thread(database.ping_sync)):
            with pytest.raises(DatabaseUnavailableError) as caught:
                await ping()
            assert _PASSWORD not in _everything_of(caught.value)
            assert because in _everything_of(caught.value)


def _everything_of(error: BaseException) -> str:
    """Return all that a log has of *error*, and what its causes and contexts say."""
    said = "".join(traceback.format_exception(error))
    each: BaseException | None = error
    while each is not None:
        said += f"{each}{each!r}{each.args}"
        each = each.__cause__ or each.__context__
    return said


def _locals_of(error: BaseException) -> Iterator[str]:
    """Yield what an error tracker shows beside the traceback: the variables of our own frames."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "layered_backend" in frame.f_code.co_filename:
            yield from map(repr, frame.f_locals.values())
