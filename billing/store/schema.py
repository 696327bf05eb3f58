"""Where the schema of one database stands, and how to move it."""

from __future__ import annotations

from sqlalchemy import Engine

from billing.store import migrate
from billing.store.engine import READ_ONLY, translated
from billing.store.guards import missing_guards


class Schema:
    """The schema of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def place(self) -> str:
        """The database's URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    def head(self) -> str:
        """The newest version this program knows."""
        return migrate.head()

    def current(self) -> str | None:
        """The version the database is at, None before the first; DatabaseUnavailable if it cannot be reached."""
        return migrate.current(self._engine)

    def upgrade(self, revision: str = "head") -> None:
        """Bring the database to `revision`; safe to repeat."""
        migrate.upgrade(self._engine, revision)

    def downgrade(self, revision: str) -> None:
        """Take the database back to `revision`; RuleError where rows about money would be lost."""
        migrate.downgrade(self._engine, revision)

    def differences(self) -> list[str]:
        """How the database differs from the model, and every guard it lacks, in words."""
        with translated(self._engine), self._engine.connect().execution_options(**{READ_ONLY: True}) as connection:
            missing = missing_guards(connection)
        return migrate.check(self._engine) + missing
