"""Payloads as text: what the outbox delivers and the audit trail hashes, letter for letter as stored."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import to_json


def encoded(value: Mapping[str, object]) -> str:
    """Compact JSON, Korean letters as they are. Several times faster than the standard library's; a renewal writes five."""
    return to_json(value).decode()
