"""DO: one verb per file, twin of the rule with the same name in `billing.domain`.

    renewal.open_due            due subscriptions → OPEN invoices
    charging.charge_due         open invoices → attempts: claim, probe ≈≈≈, arm, wire ≈≈≈
    settlement.settle           how attempts ended: look ≈≈≈, lock, judge, book
    resolution.resolve          attempts nobody holds: look again, or send the same number again
    refunding.request           money back: plan, arm, wire ≈≈≈, look ≈≈≈
    refund_settlement.settle    how refunds ended, and what was cancelled at the PG: look ≈≈≈, lock, judge, book

    worker.renew                one pass: all of these until nothing is due

≈≈≈ is the wire; no transaction is open while it lasts. `charging` is the only caller of `gateway.charge`,
`refunding` of `gateway.cancel`; `settlement` and `refund_settlement` alone book how it ended. The drawing with
all arrows stands in `docs/architecture.md`; start with `settlement.py` beside `domain/settlement.py`.
"""
