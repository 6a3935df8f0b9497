"""Settings, from a process's environment to fields, and what is said of those that are wrong."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jwt
import pytest
from pydantic import BaseModel, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import Engine, event
from sqlalchemy.pool import NullPool

from layered_backend.settings import DatabaseSettings, Environment, SecuritySettings, Settings, SettingsError

SettingsT = TypeVar("SettingsT", bound=Settings)

_KEY = secrets.token_urlsafe(48)
_OTHER_KEY = secrets.token_urlsafe(48)
_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'
_SHOP = {"DATABASE_URL": "sqlite:///shop.db", "SECRET_KEY": _KEY, "JWT_ISSUER": "shop", "JWT_AUDIENCE": "shop"}


class ShopSettings(DatabaseSettings, SecuritySettings):
    currency: str = "EUR"


class ReportSettings(DatabaseSettings):
    model_config = SettingsConfigDict(env_prefix="REPORT_")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:  # what the machine says is not in these tests
    for variable in ("LAYERED_ENV", *(name.upper() for name in ShopSettings.model_fields)):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def _read(monkeypatch: pytest.MonkeyPatch, kind: type[SettingsT], variables: Mapping[str, str]) -> SettingsT:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return kind.model_validate({})


def _problems(monkeypatch: pytest.MonkeyPatch, kind: type[Settings], variables: Mapping[str, str]) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        _read(monkeypatch, kind, variables)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "\n" not in str(caught.value)
    return caught.value.problems


def _connect_arguments(engine: Engine) -> Mapping[str, Any]:
    """Return what the driver is told, and let it connect to nothing."""
    told: dict[str, Any] = {}

    @event.listens_for(engine, "do_connect")
    def _see(dialect: object, record: object, args: object, arguments: dict[str, Any]) -> None:
        told.update(arguments)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.connect()
    return told


class TestReading:
    def test_a_field_is_the_variable_of_its_name_in_capitals(self, environment: pytest.MonkeyPatch) -> None:
        settings = _read(environment, ShopSettings, {**_SHOP, "DATABASE_POOL_SIZE": "7", "CURRENCY": "CHF"})

        assert (settings.database_pool_size, settings.currency) == (7, "CHF")

    def test_a_prefix_tells_two_databases_apart_and_the_environment_is_one(
        self, environment: pytest.MonkeyPatch
    ) -> None:
        variables = {**_SHOP, "REPORT_DATABASE_URL": "sqlite:///report.db", "LAYERED_ENV": "staging"}
        shop, report = (_read(environment, kind, variables) for kind in (ShopSettings, ReportSettings))

        assert report.database().url.database == "report.db"
        assert shop.database().url.database == "shop.db"
        assert (shop.environment, report.environment) == (Environment.STAGING, Environment.STAGING)

    def test_values_go_before_the_environment_by_the_names_of_fields(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LAYERED_ENV", "production")
        environment.setenv("DATABASE_URL", "sqlite:///shop.db")

        settings = DatabaseSettings(database_url=SecretStr("sqlite:///other.db"), environment=Environment.TEST)

        assert (settings.database().url.database, settings.environment) == ("other.db", Environment.TEST)

    def test_the_name_of_a_field_with_an_alias_is_no_variable(self, environment: pytest.MonkeyPatch) -> None:
        assert _read(environment, Settings, {"ENVIRONMENT": "test"}).environment is Environment.DEVELOPMENT

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(
            TypeError, match=r"DatabaseSettings has no field 'databse_url'; it has database_connect_tim"
        ):
            DatabaseSettings.model_validate({"databse_url": "sqlite://"})

    def test_a_file_is_read_only_where_it_is_named(self, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
        class FileSettings(DatabaseSettings):
            model_config = SettingsConfigDict(env_file=".env")

        (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///file.db\nUNRELATED=1\n")
        environment.chdir(tmp_path)

        assert _read(environment, FileSettings, {}).database().url.database == "file.db"
        assert "DATABASE_URL" in _problems(environment, DatabaseSettings, {})

    def test_the_environment_goes_before_a_file(self, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
        (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///file.db\n")
        environment.setenv("DATABASE_URL", "sqlite:///environment.db")

        settings = DatabaseSettings.model_validate({"_env_file": tmp_path / ".env"})

        assert settings.database().url.database == "environment.db"

    def test_secrets_may_be_files_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "database_url").write_text("sqlite:///mounted.db\n")

        settings = DatabaseSettings.model_validate({"_secrets_dir": tmp_path})

        assert settings.database().url.database == "mounted.db"

    def test_they_do_not_change(self, environment: pytest.MonkeyPatch) -> None:
        settings = _read(environment, ShopSettings, _SHOP)

        with pytest.raises(ValidationError, match="frozen"):
            settings.currency = "USD"

    def test_a_process_has_one_of_each_class(self, environment: pytest.MonkeyPatch) -> None:
        class OwnSettings(Settings):
            currency: str = "EUR"

        class OtherSettings(OwnSettings):
            pass

        environment.setenv("CURRENCY", "CHF")
        first = OwnSettings.load()
        environment.setenv("CURRENCY", "USD")

        assert OwnSettings.load() is OwnSettings.current() is first
        assert first.currency == "CHF"
        assert OtherSettings.current().currency == "USD"


class TestWrongSettings:
    def test_one_line_names_each_variable_and_what_to_do(self, environment: pytest.MonkeyPatch) -> None:
        with pytest.raises(SettingsError) as caught:
            _read(environment, ShopSettings, {"JWT_ISSUER": "shop", "JWT_AUDIENCE": "shop"})

        assert set(str(caught.value).split("; DATABASE")) == {
            f"SECRET_KEY is missing, make one with: {_COMMAND}",
            "_URL is missing, set it to something like sqlite:///shop.db",
        }

    def test_an_empty_variable_is_missing(self, environment: pytest.MonkeyPatch) -> None:
        problems = _problems(environment, DatabaseSettings, {"DATABASE_URL": ""})

        assert problems == {"DATABASE_URL": "is missing, set it to something like sqlite:///shop.db"}

    def test_the_name_is_that_of_the_variable(self, environment: pytest.MonkeyPatch) -> None:
        class Mail(BaseModel):
            host: str
            port: int

        class MailSettings(Settings):
            model_config = SettingsConfigDict(env_prefix="SHOP_", env_nested_delimiter="__")
            mail: Mail

        assert _problems(environment, ReportSettings, {"LAYERED_ENV": "prod"}) == {
            "LAYERED_ENV": "is not known, set it to one of development, test, staging, production",
            "REPORT_DATABASE_URL": "is missing, set it to something like sqlite:///shop.db",
        }
        environment.delenv("LAYERED_ENV")
        assert _problems(environment, MailSettings, {"SHOP_MAIL__PORT": "many"}) == {
            "SHOP_MAIL__HOST": "is missing, set it",
            "SHOP_MAIL__PORT": "must be a valid integer, unable to parse string as an integer",
        }

    @pytest.mark.parametrize(
        ("variable", "value", "problem"),
        [
            ("DATABASE_URL", "shop.db", "is not the URL of a database, one looks like sqlite:///shop.db"),
            ("DATABASE_URL", "postgresql://u@h:port/d", "is not the URL of a database, one looks like sqlite:///shop.db"),
            (
                "DATABASE_URL",
                "oracle://u@h/d",
                "is of no supported database, begin it with sqlite://, postgresql://, mariadb:// or mysql://",
            ),
            ("DATABASE_URL", "postgresql+no://h/d", "names a driver that is not known, leave it out: one is chosen"),
            ("DATABASE_POOL_SIZE", "0", "must be greater than or equal to 1"),
            ("DATABASE_POOL_SIZE", "2.5", "must be a valid integer, unable to parse string as an integer"),
            ("DATABASE_POOL_TIMEOUT", "0", "must be greater than 0"),
            ("DATABASE_POOL_TIMEOUT", "nan", "must be a finite number"),
            ("DATABASE_STATEMENT_TIMEOUT", "1e9", "must be less than or equal to 86400"),
            ("DATABASE_STATEMENT_TIMEOUT", "5", "cannot be honoured: sqlite:// has no statement_timeout, leave it out"),
            ("DATABASE_PGBOUNCER", "maybe", "must be a valid boolean, unable to interpret input"),
            ("DATABASE_PGBOUNCER", "1", "cannot be honoured: pgbouncer=True is for postgresql://, not for sqlite://"),
            ("JWT_ALGORITHM", "none", "must be 'HS256', 'HS384' or 'HS512'"),
            ("ACCESS_TOKEN_LIFETIME", "-1", "must be greater than or equal to 1"),
            ("JWT_LEEWAY", "3600", "must be less than or equal to 300"),
            ("SIGNING_KEY_ID", "2026-05", "is the id of no key, set it to one that there is, or leave it out: the first key signs"),
        ],
    )  # fmt: skip
    def test_each_mistake_is_a_sentence(
        self, environment: pytest.MonkeyPatch, variable: str, value: str, problem: str
    ) -> None:
        assert _problems(environment, ShopSettings, {**_SHOP, variable: value}) == {variable: problem}

    def test_a_statement_timeout_is_not_for_pgbouncer(self, environment: pytest.MonkeyPatch) -> None:
        variables = {
            "DATABASE_URL": "postgresql://h/d",
            "DATABASE_PGBOUNCER": "1",
            "DATABASE_STATEMENT_TIMEOUT": "5",
        }

        problems = _problems(environment, DatabaseSettings, variables)

        assert [*problems] == ["DATABASE_STATEMENT_TIMEOUT"]
        assert "ALTER ROLE ... SET statement_timeout" in problems["DATABASE_STATEMENT_TIMEOUT"]

    def test_what_is_not_json_is_not_shown(self, environment: pytest.MonkeyPatch) -> None:
        class PriceSettings(Settings):
            model_config = SettingsConfigDict(env_nested_delimiter="__")
            prices: dict[str, int]

        assert _problems(environment, PriceSettings, {"PRICES": '{"hunter2'}) == {
            "PRICES": "is not JSON, write it as JSON"
        }
        assert _problems(environment, PriceSettings, {"PRICES": '{"hunter2": "x"}'}) == {
            "PRICES": "must be a valid integer, unable to parse string as an integer"
        }

    def test_a_validator_of_the_applications_own_is_quoted_unless_it_shows_the_value(
        self, environment: pytest.MonkeyPatch
    ) -> None:
        class BankSettings(Settings):
            iban: str
            bic: str

            @field_validator("iban", "bic")
            @classmethod
            def _check(cls, value: str) -> str:
                raise ValueError("is no account" if value.startswith("DE") else f"{value} is no bank")

        assert _problems(environment, BankSettings, {"IBAN": "DE1234", "BIC": "hunter2"}) == {
            "IBAN": "is no account",
            "BIC": "is not valid",
        }

    def test_a_mistake_of_several_variables_is_said_by_itself(self, environment: pytest.MonkeyPatch) -> None:
        class RangeSettings(Settings):
            lowest: int
            highest: int

            @model_validator(mode="after")
            def _are_in_order(self) -> RangeSettings:
                raise ValueError("LOWEST is above HIGHEST")

        with pytest.raises(SettingsError) as caught:
            _read(environment, RangeSettings, {"LOWEST": "2", "HIGHEST": "1"})

        assert str(caught.value) == "LOWEST is above HIGHEST"


class TestEnvironments:
    def test_it_is_development_unless_it_is_said(self, environment: pytest.MonkeyPatch) -> None:
        assert _read(environment, Settings, {}).environment is Environment.DEVELOPMENT
        assert _read(environment, Settings, {"LAYERED_ENV": "production"}).environment is Environment.PRODUCTION

    def test_an_application_has_others_too(self, environment: pytest.MonkeyPatch) -> None:
        class PreviewSettings(Settings):
            more_environments: ClassVar[tuple[str, ...]] = ("preview",)

        assert _read(environment, PreviewSettings, {"LAYERED_ENV": "preview"}).environment == "preview"
        assert _problems(environment, PreviewSettings, {"LAYERED_ENV": "prevue"}) == {
            "LAYERED_ENV": "is not known, set it to one of development, test, staging, production, preview"
        }


class TestDatabases:
    def test_the_pool_is_set_up_as_it_says(self, environment: pytest.MonkeyPatch) -> None:
        variables = {"DATABASE_POOL_SIZE": "3", "DATABASE_MAX_OVERFLOW": "0", "DATABASE_POOL_RECYCLE": "60"}
        database = _read(environment, DatabaseSettings, {**_SHOP, **variables}).database()

        for engine in (database.engine.sync_engine, database.sync_engine):
            pool: Any = engine.pool
            assert (pool.size(), pool._max_overflow, pool._recycle) == (3, 0, 60)

    def test_an_in_memory_database_stays_one_connection(self, environment: pytest.MonkeyPatch) -> None:
        settings = _read(environment, DatabaseSettings, {"DATABASE_URL": "sqlite://", "DATABASE_POOL_SIZE": "20"})
        pool: Any = settings.database().engine.pool

        assert (pool.size(), pool._max_overflow) == (1, 0)

    def test_a_pool_of_the_callers_own_has_its_own_options(self, environment: pytest.MonkeyPatch) -> None:
        database = _read(environment, DatabaseSettings, _SHOP).database(poolclass=NullPool)

        assert isinstance(database.sync_engine.pool, NullPool)

    def test_options_go_before_the_settings(self, environment: pytest.MonkeyPatch) -> None:
        pool: Any = _read(environment, DatabaseSettings, _SHOP).database(pool_size=2).sync_engine.pool

        assert pool.size() == 2
        server = _read(
            environment, DatabaseSettings, {"DATABASE_URL": "postgresql://h/d", "DATABASE_DEFERRED_BEGIN": "1"}
        )
        assert not server.database(deferred_begin=False).deferred_begin

    def test_the_synchronous_url_may_be_given(self, environment: pytest.MonkeyPatch) -> None:
        variables = {"DATABASE_URL": "postgresql://h/d", "DATABASE_SYNC_URL": "postgresql://replica/d"}

        assert _read(environment, DatabaseSettings, variables).database().sync_url.host == "replica"

    def test_pgbouncer_and_timeouts_reach_the_database(self, environment: pytest.MonkeyPatch) -> None:
        server = {"DATABASE_URL": "postgresql://h/d", "DATABASE_CONNECT_TIMEOUT": "2.5"}
        behind = _read(environment, DatabaseSettings, {**server, "DATABASE_PGBOUNCER": "true"}).database()
        environment.delenv("DATABASE_PGBOUNCER")
        limited = _read(environment, DatabaseSettings, {**server, "DATABASE_STATEMENT_TIMEOUT": "5"}).database()

        assert (
            _connect_arguments(behind.sync_engine).items() >= {"prepare_threshold": None, "connect_timeout": 3}.items()
        )
        assert _connect_arguments(limited.sync_engine)["options"] == "-c statement_timeout=5000"

    def test_begin_is_deferred_only_where_it_is_asked_for(self, environment: pytest.MonkeyPatch) -> None:
        server = {"DATABASE_URL": "postgresql://h/d"}
        assert not _read(environment, DatabaseSettings, server).database().deferred_begin
        asked = _read(environment, DatabaseSettings, {**server, "DATABASE_DEFERRED_BEGIN": "true"})
        assert asked.database().deferred_begin
        assert asked.database().unpooled().deferred_begin


class TestKeys:
    def test_one_key_is_the_default_one(self, environment: pytest.MonkeyPatch) -> None:
        settings = _read(environment, SecuritySettings, _SHOP)

        assert {kid: key.get_secret_value() for kid, key in settings.token_keys.items()} == {"default": _KEY}
        assert settings.signing_key == "default"

    def test_of_several_the_first_signs_or_the_one_that_is_named(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("SECRET_KEYS", f'{{"2026-11": "{_KEY}", "2026-05": "{_OTHER_KEY}"}}')
        variables = {name: value for name, value in _SHOP.items() if name != "SECRET_KEY"}
        first = _read(environment, SecuritySettings, variables)
        named = _read(environment, SecuritySettings, {**variables, "SIGNING_KEY_ID": "2026-05"})

        assert [key.get_secret_value() for key in first.token_keys.values()] == [_KEY, _OTHER_KEY]
        assert (first.signing_key, named.signing_key) == ("2026-11", "2026-05")
        assert [*named.token_keys] == ["2026-05", "2026-11"]

    def test_they_make_what_issues_tokens(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("SECRET_KEYS", f'{{"2026-11": "{_KEY}{_OTHER_KEY}", "2026-05": "{_OTHER_KEY}{_KEY}"}}')
        variables = {name: value for name, value in _SHOP.items() if name != "SECRET_KEY"}
        said = {"SIGNING_KEY_ID": "2026-05", "JWT_ALGORITHM": "HS512", "ACCESS_TOKEN_LIFETIME": "60", "JWT_LEEWAY": "3"}

        tokens = _read(environment, SecuritySettings, {**variables, **said}).access_tokens()

        assert jwt.get_unverified_header(tokens.issue("7")) == {"alg": "HS512", "kid": "2026-05", "typ": "JWT"}
        assert tokens.verify(tokens.issue("7")).subject == "7"
        assert (tokens.lifetime, tokens.leeway) == (60, 3)
        assert (tokens.issuer, tokens.audience) == (_SHOP["JWT_ISSUER"], _SHOP["JWT_AUDIENCE"])

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            ("[]", "is no JSON of keys by id, write JSON with ids and keys"),
            ('{"2026": 5}', "is no JSON of keys by id"),
            (f'{{"": "{_KEY}"}}', "has a key without an id"),
            (f'{{"a": "{_KEY}", "a": "{_OTHER_KEY}"}}', "is no JSON of keys by id"),
            (f'{{"a": "{_KEY}", "b": "short"}}', "has a key (number 2) that is shorter than 32 bytes, make one with"),
            (f'{{"{_KEY}": "2026-11"}}', "has a key (number 1) that is shorter than 32 bytes, make one with"),
        ],
        ids=lambda text: text.replace(_KEY, "KEY").replace(
            _OTHER_KEY, "OTHER"
        ),  # alike in each process of pytest-xdist
    )
    def test_keys_that_cannot_be_read_or_are_weak_are_not_shown(
        self, environment: pytest.MonkeyPatch, keys: str, problem: str
    ) -> None:
        variables = {"SECRET_KEYS": keys, "JWT_ISSUER": "shop", "JWT_AUDIENCE": "shop"}

        problems = _problems(environment, SecuritySettings, variables)

        assert [*problems] == ["SECRET_KEYS"]
        assert problems["SECRET_KEYS"].startswith(problem)
        assert _KEY not in str(problems)

    def test_one_key_and_several_are_too_many(self, environment: pytest.MonkeyPatch) -> None:
        variables = {**_SHOP, "SECRET_KEYS": f'{{"2026-11": "{_OTHER_KEY}"}}'}

        assert _problems(environment, SecuritySettings, variables) == {
            "SECRET_KEY": "is set beside keys by id, keep one of the two variables"
        }

    def test_in_tests_a_missing_key_is_made_once_for_the_process(self, environment: pytest.MonkeyPatch) -> None:
        variables = {"LAYERED_ENV": "test", "JWT_ISSUER": "shop", "JWT_AUDIENCE": "shop"}
        one, other = (_read(environment, SecuritySettings, variables) for _ in range(2))

        assert one.token_keys == other.token_keys
        assert len(one.token_keys["default"].get_secret_value()) >= 64

    @pytest.mark.parametrize("name", ["development", "staging", "production"])
    def test_elsewhere_it_is_an_error(self, environment: pytest.MonkeyPatch, name: str) -> None:
        variables = {"LAYERED_ENV": name, "JWT_ISSUER": "shop", "JWT_AUDIENCE": "shop"}

        assert _problems(environment, SecuritySettings, variables) == {
            "SECRET_KEY": f"is missing, make one with: {_COMMAND}"
        }

    @pytest.mark.parametrize("name", ["test", "production"])
    def test_a_weak_key_is_refused_in_tests_too(self, environment: pytest.MonkeyPatch, name: str) -> None:
        problems = _problems(environment, SecuritySettings, {**_SHOP, "SECRET_KEY": "x" * 31, "LAYERED_ENV": name})

        assert problems == {"SECRET_KEY": f"is shorter than 32 bytes, make one with: {_COMMAND}"}

    @pytest.mark.parametrize(("algorithm", "needed"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
    def test_a_key_is_as_long_as_its_algorithms_hash(
        self, environment: pytest.MonkeyPatch, algorithm: str, needed: int
    ) -> None:
        variables = {**_SHOP, "JWT_ALGORITHM": algorithm}
        _read(environment, SecuritySettings, {**variables, "SECRET_KEY": _KEY[:needed]})

        problems = _problems(environment, SecuritySettings, {**variables, "SECRET_KEY": _KEY[: needed - 1]})

        assert problems["SECRET_KEY"].startswith(f"is shorter than {needed} bytes")


def test_the_package_that_is_missing_is_named_in_one_line() -> None:
    code = (
        "import sys; sys.modules['pydantic_settings'] = None; import layered_backend.fastapi, layered_backend.settings"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"ModuleNotFoundError: settings need a package: pip install 'layered-backend\[settings\]'", last
    )
