"""Whether the channels we are configured with are those the PG has. Pure: both lists in, one standing for each out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from billing.domain.channel import Assigned, inability
from billing.domain.evidence import Channel


class Standing(StrEnum):
    """How a configured channel stands at the PG."""

    FOUND = "found"
    MISSING = "missing"  # the PG knows none of this name, and silently takes another
    AMBIGUOUS = "ambiguous"  # several shops of one module, and no MID: which one takes the money is not ours to say
    WRONG_MODE = "wrong mode"  # a test channel in live mode, or a live one elsewhere
    UNFIT = "unfit"  # there, and cannot do what it is assigned to


class Compared(NamedTuple):
    """One configured channel beside the PG's list. `said` is a half-sentence about it, `cure` what to do."""

    assigned: Assigned
    standing: Standing
    said: str
    cure: str = ""

    @property
    def is_right(self) -> bool:
        """True where nothing has to be done."""
        return self.standing is Standing.FOUND


def compared(plan: Iterable[Assigned], listed: Sequence[Channel], *, mode: str) -> list[Compared]:
    """Each channel assigned in `mode`, beside what the PG lists.

    Source: PortOne REST V1, GET /users/pg (`sandbox` tells test channels), and `pg` of the key issue: an unknown value
    falls back to the account's default without a word.
    """
    return [_compared(one, listed, mode) for one in plan if one.mode == mode]


def _compared(one: Assigned, listed: Sequence[Channel], mode: str) -> Compared:
    fitting = [channel for channel in listed if _is(one, channel)]
    right = [channel for channel in fitting if channel.sandbox is (mode != "live")]
    if not fitting:
        names = ", ".join(sorted({f"{channel.pg_provider}.{channel.pg_id}" for channel in listed}))
        cure = f"assign one of {names}" if names else "make a channel in the PortOne console"
        return Compared(one, Standing.MISSING, "is none of this account's channels, and the PG would silently take another", cure)
    if not right:
        said = "is a test channel: what it takes is given back" if mode == "live" else "is a live channel: it takes real money"
        return Compared(one, Standing.WRONG_MODE, said, f"mode {mode} needs another; leave this one to the other mode")
    if len(fitting) > 1 and not one.channel.key:
        shops = ", ".join(sorted(channel.pg_id for channel in fitting))
        return Compared(one, Standing.AMBIGUOUS, f"may be any of the shops {shops}", f"write {one.channel.provider}.MID")
    # Behind a channel key the module is seen only now.
    found = one._replace(channel=one.channel._replace(provider=right[0].pg_provider, mid=right[0].pg_id))
    problem = inability(found)
    if problem:
        return Compared(one, Standing.UNFIT, f"is {right[0].pg_provider}, which {problem}", "assign another channel")
    return Compared(one, Standing.FOUND, f"is {right[0].name or right[0].pg_provider}")


def _is(one: Assigned, channel: Channel) -> bool:
    wanted = one.channel
    if wanted.key:
        return wanted.key == channel.key
    return wanted.provider == channel.pg_provider and wanted.mid in ("", channel.pg_id)
