"""DO: one verb per file, twin of the rule with the same name in `billing.domain`.

    renewal.open_due            due subscriptions → OPEN invoices
    charging.charge_due         open invoices → attempts: claim, probe ≈≈≈, arm, wire ≈≈≈
    settlement.settle           how attempts ended: look ≈≈≈, lock, judge, book
    resolution.resolve          attempts nobody holds: look again, or send the same number again

    worker.renew                one pass: all of these until nothing is due

≈≈≈ is the wire; no transaction is open while it lasts. `charging` is the only caller of
`gateway.charge`, `settlement` alone books how an attempt ended. The drawing with all arrows
stands in `docs/architecture.md`; start with `settlement.py` beside `domain/settlement.py`.
"""
