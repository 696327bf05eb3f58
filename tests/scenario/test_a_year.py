"""A subscription that simply goes well."""

from __future__ import annotations

from datetime import date

from billing.domain.subscription import SubscriptionState as S
from tests.kit.world import World


def test_a_month_anchored_on_the_31st_never_drifts(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    starts = [world.period(mina)]
    for _ in range(366):
        world.days(1)
        if world.period(mina) != starts[-1]:
            starts.append(world.period(mina))

    days = [(start.month, start.day) for start, _ in filter(None, starts)]
    assert days == [
        (1, 31),
        (2, 29),
        (3, 31),
        (4, 30),
        (5, 31),
        (6, 30),
        (7, 31),
        (8, 31),
        (9, 30),
        (10, 31),
        (11, 30),
        (12, 31),
        (1, 31),
    ]
    assert len(world.pg.kept()) == 13
    assert all(row["amount"] == 9_900 for row in world.pg.kept())
    assert world.is_proven()


def test_the_first_payment_is_due_at_once_and_activates(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    assert world.subscription(mina).state is S.ACTIVE
    assert world.period(mina) == (date(2024, 1, 31), date(2024, 2, 29))
    assert world.topics(mina) == ["subscription.created", "invoice.opened", "subscription.activated", "invoice.paid"]


def test_a_trial_is_free_and_its_last_day_opens_the_first_invoice(world: World) -> None:
    mina = world.subscriber("pro-trial")
    assert world.subscription(mina).state is S.TRIALING
    world.days(13)
    assert world.pg.kept() == []
    world.days(1)
    assert world.subscription(mina).state is S.ACTIVE
    assert world.period(mina) == (date(2024, 2, 14), date(2024, 3, 14))
    assert len(world.pg.kept()) == 1


def test_a_later_start_waits_for_its_day(world: World) -> None:
    mina = world.subscriber("pro-monthly", start_on=date(2024, 2, 10))
    assert world.subscription(mina).state is S.SCHEDULED
    world.at("2024-02-09 21:00").tick()
    assert world.invoices(mina) == []
    world.at("2024-02-10 09:00").tick()
    assert world.subscription(mina).state is S.ACTIVE
    assert world.period(mina) == (date(2024, 2, 10), date(2024, 3, 10))


def test_a_later_start_with_a_trial_passes_through_both(world: World) -> None:
    mina = world.subscriber("pro-trial", start_on=date(2024, 2, 10))
    world.at("2024-02-10 10:00").tick()
    assert world.subscription(mina).state is S.TRIALING
    world.at("2024-02-24 10:00").tick()
    assert world.subscription(mina).state is S.ACTIVE


def test_a_team_pays_its_set_up_once_and_is_billed_by_the_calendar_month(world: World) -> None:
    team = world.subscriber("team-monthly", quantity=5)
    last_day_of_january = 7_903  # 5 × 49,000 ÷ 31 days, half up
    assert world.invoice(team).total == last_day_of_january + 30_000
    assert world.period(team) == (date(2024, 1, 31), date(2024, 2, 1))
    world.days(1)
    assert world.invoice(team).total == 5 * 49_000
    assert world.period(team) == (date(2024, 2, 1), date(2024, 3, 1))
    assert world.is_proven()


def test_vat_is_a_part_of_the_total_and_lines_sum_to_it(world: World) -> None:
    team = world.at("2024-02-01 10:00").subscriber("team-monthly")
    invoice = world.invoice(team)
    with world.app.store.read() as tx:
        lines = tx.invoices.lines_of([invoice.id])[invoice.id]
    assert (invoice.total, invoice.vat) == (79_000, 7_182)
    assert sum(line.amount for line in lines) == invoice.total
    assert sum(line.vat for line in lines) == invoice.vat


def test_a_free_plan_is_paid_without_asking_the_pg(world: World) -> None:
    mina = world.subscriber("free", card=None)
    assert world.subscription(mina).state is S.ACTIVE
    world.days(30)
    assert [one.state.value for one in world.invoices(mina)] == ["paid", "paid"]
    assert world.pg.arrivals() == []
    assert world.is_proven()


def test_nothing_is_charged_outside_charge_hours(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    for early_or_late in ("00:00", "08:59", "22:00", "23:59"):
        assert not world.at(f"2024-02-29 {early_or_late}").tick()
    world.at("2024-03-01 09:00")
    assert world.tick()["paid"] == 1
    assert world.period(mina) == (date(2024, 2, 29), date(2024, 3, 31))


def test_a_second_pass_over_the_same_day_does_nothing(world: World) -> None:
    world.subscriber("pro-monthly")
    world.at("2024-02-29 10:00")
    assert world.tick() == {"opened": 1, "paid": 1}
    assert not world.tick()


def test_invoice_numbers_have_no_gap(world: World) -> None:
    subscribers = [world.subscriber("pro-weekly", card="balance" if n % 3 else "approves") for n in range(6)]
    world.days(30)
    numbers = sorted(one.number for id in subscribers for one in world.invoices(id))
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_outage_of_ours_charges_the_newest_period_only_and_says_what_was_skipped(world: World) -> None:
    mina = world.subscriber("pro-daily")
    world.later(days=4)
    assert world.tick()["paid"] == 1
    assert [one.period_index for one in world.invoices(mina)] == [0, 4]
    assert "subscription.periods_skipped" in world.topics(mina)
    assert len(world.pg.kept()) == 2
