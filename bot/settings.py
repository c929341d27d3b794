"""Every environment variable, read once into one frozen object."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bot.encryption import MINIMUM_SECRET_LENGTH
from bot.leadsquared.address import InvalidAddressError, parse_address, parse_host_pattern
from bot.leadsquared.tenant import check_key, check_org_id

DEFAULT_PORT = 3000
LEASE_MARGIN = 5.0
ENV_FILE = Path(".env")

Port = Annotated[int | None, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ConfigurationError(Exception):
    """The settings cannot be used; each problem is a line with the variable and the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """The environment, checked.

    Field names are the variables' names in lower case; times are in seconds.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        env_file_encoding="utf-8",
    )

    slack_bot_token: SecretStr | None = None
    slack_client_id: str | None = None
    slack_client_secret: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_socket_connections: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="Slack allows an app about ten websockets, over all processes together",
        ),
    ] = 2
    slack_api_url: str = "https://slack.com/api/"

    leadsquared_api_url: str | None = None
    leadsquared_org_id: str | None = None
    leadsquared_access_key: SecretStr | None = None
    leadsquared_secret_key: SecretStr | None = None
    leadsquared_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("*.leadsquared.com",)
    leadsquared_connect_timeout: Seconds = 5
    leadsquared_read_timeout: Seconds = 10
    leadsquared_look_after_unknown: bool = False
    leadsquared_attribution: Literal["none", "name", "name-and-link"] = "none"
    leadsquared_show_ticket: bool = False

    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    encryption_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()

    host: str | None = None
    port: Port = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    retry_for: Seconds = 900
    lease: Annotated[float, Field(ge=5, le=3600)] = 30
    shutdown_grace: Annotated[float, Field(ge=3, le=300)] = 25
    retention_days: Annotated[float, Field(ge=0, le=36_500)] = 90
    audit_days: Annotated[float, Field(ge=0, le=36_500)] = 730
    poll_interval: Annotated[float, Field(ge=0.1, le=300)] = 5

    dyno: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop white space and new lines around each value, as copying leaves them."""
        texts = {name: value.strip() for name, value in values.items() if isinstance(value, str)}
        return {name: value for name, value in {**values, **texts}.items() if value != ""}

    @field_validator("leadsquared_allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return (
            tuple(parse_host_pattern(host) for host in value.split(",") if host.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("encryption_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return (
            tuple(key.strip() for key in value.split(",") if key.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("encryption_keys")
    @classmethod
    def _long_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < MINIMUM_SECRET_LENGTH for key in value):
            raise ValueError(
                f"every secret needs at least {MINIMUM_SECRET_LENGTH} characters; "
                'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        return value

    @field_validator("slack_bot_token")
    @classmethod
    def _bot_token(cls, value: SecretStr | None) -> SecretStr | None:
        return _starts(
            value,
            "xoxb-",
            "copy the Bot User OAuth Token from your Slack app's page OAuth & Permissions",
        )

    @field_validator("slack_app_token")
    @classmethod
    def _app_token(cls, value: SecretStr | None) -> SecretStr | None:
        return _starts(
            value,
            "xapp-",
            "make an app-level token with connections:write on your Slack app's page "
            "Basic Information",
        )

    @field_validator("leadsquared_org_id")
    @classmethod
    def _org_id(cls, value: str | None) -> str | None:
        return None if value is None else check_org_id(value)

    @field_validator("leadsquared_access_key", "leadsquared_secret_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(check_key(value.get_secret_value()))

    @field_validator("slack_api_url")
    @classmethod
    def _slack_url(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("write a whole address, such as https://slack.com/api/")
        return value if value.endswith("/") else value + "/"

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("log_format", "leadsquared_attribution", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        if _has_a_password_to_encode(value.get_secret_value()):
            raise ValueError(
                "contains more than one @; percent-encode the user and the password in it: "
                "@ is %40, / is %2F, # is %23, ? is %3F, : is %3A, % is %25"
            )
        if not _is_database_url(value.get_secret_value()):
            raise ValueError("use postgres://user:password@host/name, or sqlite:///path/to/file.db")
        if not make_url(value.get_secret_value()).database:
            # The driver would take the user's name for it, and with no user either, the system
            # account's.
            raise ValueError(
                "has no database name; write it at the end: postgres://user:password@host/name"
            )
        return value

    @model_validator(mode="after")
    def _lease_outlives_a_call(self) -> Self:
        # A lease that ends while its POST can still succeed would call a recorded activity unknown.
        if self.lease < self.call_deadline + LEASE_MARGIN:
            raise ValueError(
                f"LEASE: must be {self.call_deadline + LEASE_MARGIN:g} or more: "
                "LEADSQUARED_CONNECT_TIMEOUT + LEADSQUARED_READ_TIMEOUT + 5 for the longest call, "
                f"and {LEASE_MARGIN:g} to begin it; raise it, or lower those"
            )
        return self

    @model_validator(mode="after")
    def _rows_outlast_their_texts(self) -> Self:
        if self.audit_days < self.retention_days:
            raise ValueError(
                f"AUDIT_DAYS: must be RETENTION_DAYS ({self.retention_days:g}) or more; "
                "raise it, or lower RETENTION_DAYS"
            )
        return self

    @property
    def serves_many(self) -> bool:
        """Whether workspaces install the bot by OAuth, instead of one by SLACK_BOT_TOKEN."""
        return self.slack_client_id is not None and self.slack_client_secret is not None

    @property
    def call_deadline(self) -> float:
        """The longest one call to LeadSquared may take in all, in seconds."""
        return self.leadsquared_connect_timeout + self.leadsquared_read_timeout + 5

    @property
    def begin_within(self) -> float:
        """Seconds after a claim within which a call must begin, to end before the lease does."""
        return self.lease - self.call_deadline

    @property
    def on_heroku(self) -> bool:
        return self.dyno is not None

    @property
    def bind_host(self) -> str:
        """Where the HTTP server listens: every interface on Heroku, this machine only elsewhere."""
        everywhere = "0.0.0.0"  # noqa: S104 - Heroku's router comes from outside
        return self.host or (everywhere if self.on_heroku else "127.0.0.1")

    @property
    def sqlalchemy_url(self) -> str:
        """DATABASE_URL as SQLAlchemy spells it (Heroku writes postgres://)."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'portal-activity.db'}"
        scheme, separator, rest = self.database_url.get_secret_value().partition("://")
        driver = "postgresql+psycopg" if scheme in ("postgres", "postgresql") else scheme
        return f"{driver}{separator}{rest}"

    def make_data_dir(self) -> None:
        """Make the folder of the SQLite file, for its owner only.

        Raise ConfigurationError when that cannot be.
        """
        if self.sqlite_file is None:
            return
        folder = self.sqlite_file.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            name = "DATA_DIR" if self.database_url is None else "DATABASE_URL"
            raise ConfigurationError(
                [
                    (
                        f"{name}: the folder {folder} cannot be created ({error.strerror}); "
                        "choose another"
                    )
                ]
            ) from None

    @property
    def sqlite_file(self) -> Path | None:
        """The database's file; None with PostgreSQL."""
        file = make_url(self.sqlalchemy_url).database if self.on_sqlite else None
        return None if file is None else Path(file)

    @property
    def on_sqlite(self) -> bool:
        return self.sqlalchemy_url.startswith("sqlite")


def _has_a_password_to_encode(text: str) -> bool:
    """Say whether the password's end is unsure: its rest would count as the host, and be shown."""
    return not text.startswith("sqlite") and text.count("@") > 1


def _is_database_url(text: str) -> bool:
    scheme, separator, _ = text.partition("://")
    try:
        database = make_url(text).database
    except (ArgumentError, ValueError):
        return False
    if scheme == "sqlite" and database in (None, "", ":memory:"):
        return False  # what is accepted must outlive the process
    return bool(separator) and scheme in ("sqlite", "postgres", "postgresql", "postgresql+psycopg")


def _starts(value: SecretStr | None, prefix: str, fix: str) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(prefix):
        raise ValueError(f"must start with {prefix}; {fix}")
    return value


def load_settings(
    env_file: Path | None = ENV_FILE,
    **overrides: Any,  # noqa: ANN401 - any setting's value
) -> Settings:
    """Read the environment and `.env`; raise ConfigurationError with a line per problem."""
    try:
        if env_file is not None and env_file.is_dir():
            raise ConfigurationError(
                [f"{env_file}: this is a folder; replace it with a file, or remove it"]
            )
        settings = Settings(_env_file=env_file, **overrides)
    except OSError as error:
        raise ConfigurationError(
            [f"{env_file}: it cannot be read ({error.strerror}); let the bot's user read it"]
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{env_file}: it is not UTF-8; save it as UTF-8"]) from None
    except ValidationError as error:
        raise ConfigurationError([_line(problem) for problem in error.errors()]) from None
    problems = _contradictions(settings)
    if problems:
        raise ConfigurationError(problems)
    return settings


def _line(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = ".".join(str(part) for part in problem["loc"][:1]).upper()
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] != "value_error" and name.lower() in Settings.model_fields:
        message = f"must be {_allowed(name.lower())}"
    return f"{name}: {message}" if name else message


def _allowed(name: str) -> str:
    """Say in words what a setting may be."""
    field = Settings.model_fields[name]
    if field.annotation is bool:
        return "true or false"
    if get_origin(field.annotation) is Literal:
        *others, last = get_args(field.annotation)
        return f"{', '.join(others)} or {last}"
    kind = "a number" if field.annotation is float else "a whole number"
    lowest, above, highest = (
        next((getattr(bound, which) for bound in field.metadata if hasattr(bound, which)), None)
        for which in ("ge", "gt", "le")
    )
    why = f"; {field.description}" if field.description else ""
    start = f"from {lowest:g}" if above is None else f"above {above:g}, up"
    return f"{kind} {start} to {highest:g}{why}"


def _contradictions(settings: Settings) -> list[str]:
    problems = _contradictions_of_slack(settings)
    tenant = {
        "LEADSQUARED_API_URL": settings.leadsquared_api_url,
        "LEADSQUARED_ORG_ID": settings.leadsquared_org_id,
        "LEADSQUARED_ACCESS_KEY": settings.leadsquared_access_key,
        "LEADSQUARED_SECRET_KEY": settings.leadsquared_secret_key,
    }
    missing = [name for name, value in tenant.items() if value is None]
    if missing and len(missing) < len(tenant):
        problems += [
            f"{name}: missing; set all four LEADSQUARED_* of the tenant, or none of them"
            for name in missing
        ]
    if settings.leadsquared_api_url is not None:
        try:
            parse_address(settings.leadsquared_api_url, settings.leadsquared_allowed_hosts)
        except InvalidAddressError as error:
            problems.append(f"LEADSQUARED_API_URL: {error}")
    if settings.on_heroku and settings.on_sqlite:
        problems.append(
            "DATABASE_URL: on Heroku the disk is lost daily, so SQLite is refused; "
            "add PostgreSQL: heroku addons:create heroku-postgresql"
        )
    if not settings.on_sqlite and not settings.encryption_keys:
        problems.append(
            "ENCRYPTION_KEYS: missing; with PostgreSQL you choose the secret, "
            f"at least {MINIMUM_SECRET_LENGTH} characters: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return problems


def _contradictions_of_slack(settings: Settings) -> list[str]:
    client = {
        "SLACK_CLIENT_ID": settings.slack_client_id,
        "SLACK_CLIENT_SECRET": settings.slack_client_secret,
    }
    given = [name for name, value in client.items() if value is not None]
    if not given:
        return []
    if settings.slack_bot_token is not None:
        return [
            (
                f"SLACK_BOT_TOKEN: it serves one workspace, and {given[0]} many; remove one of "
                "them (with SLACK_CLIENT_ID each workspace installs the bot at /slack/install)"
            )
        ]
    return [
        f"{name}: missing; copy it from your Slack app's page Basic Information"
        for name, value in client.items()
        if value is None
    ]


def missing_for_slack(settings: Settings, *, surface: bool) -> list[str]:
    """Return a line for each missing setting.

    The bot needs them to call Slack and, with `surface`, to be called by it.
    """
    problems = []
    if settings.slack_bot_token is None and not settings.serves_many:
        problems.append(
            "SLACK_BOT_TOKEN: missing; "
            "copy the Bot User OAuth Token (xoxb-…) from your Slack app's page OAuth & Permissions "
            "(or, for many workspaces, set SLACK_CLIENT_ID and SLACK_CLIENT_SECRET)"
        )
    if surface and settings.slack_app_token is None and settings.slack_signing_secret is None:
        problems.append(
            "SLACK_SIGNING_SECRET: missing; copy it from your Slack app's page Basic Information "
            "(or set SLACK_APP_TOKEN to use Socket Mode)"
        )
    return problems
