"""REMEMBER: SQLAlchemy Core. Rows in, records out; what is read is a value, what is written is a statement."""
