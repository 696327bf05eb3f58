"""When the PG cannot be asked properly: an absence proves nothing, and the name space stays provable."""

from __future__ import annotations

from pathlib import Path

from billing.domain.settlement import NotTried
from billing.sandbox import SandboxConfig
from tests.kit.world import World, world_on


def test_a_bulk_look_up_that_hides_payments_does_not_hide_them_from_us(database_url: str) -> None:
    with world_on(database_url, config=SandboxConfig(batch_hides_sandbox=True)) as world:
        mina = world.subscriber()
        world.at("2024-02-29 10:00").tick()
        assert world.states(mina) == ["paid", "paid"]
        assert len(world.pg.kept()) == 2


def test_while_a_payment_we_know_is_not_found_nothing_counts_as_never_arrived(migrated_sqlite: Path, tmp_path: Path) -> None:
    """The canary: a look-up that misses it is blind (a wrong account, a lagging replica), and nothing is sent again."""
    with world_on(f"sqlite:///{tmp_path / 'billing.db'}", config=SandboxConfig(batch_hides_sandbox=True)) as world:
        mina = world.subscriber()
        world.pg.fault("lost_request", times=1)
        world.at("2024-02-29 10:00").tick()
        arrivals = len(world.pg.arrivals())
        world.until_decided(hours=30)
        assert world.states(mina) == ["paid", "unknown"]
        assert len(world.pg.arrivals()) == arrivals


def test_a_seventh_number_is_not_given_out_after_five_without_a_record(world: World) -> None:
    """Five silent numbers in a row would hide a sixth from the probe of a restored backup."""
    mina = world.subscriber("pro-monthly", card="balance")
    (key,) = (key for key in world.app.gateway.get_keys([world.attempts(mina)[0].customer_uid]).values())
    world.app.gateway.delete_key(key.customer_uid, reason="behind our back")
    for _ in range(5):
        world.later(minutes=1).app.retry([world.invoice(mina).id])
    assert world.states(mina) == ["declined", *["rejected"] * 5]

    (verdict,) = world.app.retry([world.invoice(mina).id])
    assert isinstance(verdict, NotTried)
    assert "no record" in verdict.why
