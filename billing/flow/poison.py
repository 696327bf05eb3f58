"""What makes one row of a batch fail, as against what makes everything fail."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from billing.errors import RuleError

POISON = (SQLAlchemyError, RuleError, ArithmeticError, LookupError, TypeError, ValueError)
"""Errors that one bad row can raise: the batch is done again row by row, and that row is parked.

Not among them: an unreachable database or PG (`Unavailable`) and broken books (`InvariantBroken`). They
are nobody's row, and parking healthy rows for them would be the outage made permanent.
"""
