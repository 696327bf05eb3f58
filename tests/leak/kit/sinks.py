"""Where something could come to light."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine, inspect, text


def every_row(engine: Engine) -> Iterator[tuple[str, str]]:
    """Every value of every column of every table, as text, with where it stands."""
    with engine.connect() as conn:
        for table in inspect(conn).get_table_names():
            for row in conn.execute(text(f'SELECT * FROM "{table}"')).mappings():
                yield from ((f"{table}.{column}", str(value)) for column, value in row.items())
