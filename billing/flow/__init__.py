"""DO: one verb per file, twin of the rule with the same name in `billing.domain`.

    renewal.open_due            due subscriptions → OPEN invoices
    charging.charge_due         open invoices → attempts: claim, probe ≈≈≈, arm, wire ≈≈≈
    settlement.settle           how attempts ended: look ≈≈≈, lock, judge, book
    resolution.resolve          attempts nobody holds: look again, or send the same number again
    refunding.request           money back: plan, arm, wire ≈≈≈, look ≈≈≈
    refund_settlement.settle    how refunds ended, and what was cancelled at the PG: look ≈≈≈, lock, judge, book

    opening.open                a buyer's window: plan, probe ≈≈≈, amount registered ≈≈≈, arm; the browser sends
    confirming.confirm          go or stop, right before the PG approves what a window began
    completing.complete         how a window ended: look ≈≈≈ → settlement, registration
    keying_in.charge            a card typed in once: plan, probe ≈≈≈, arm, wire ≈≈≈ → settlement

    heeding.heed                notices somebody sent → settlement, refund_settlement, registration
    reconciliation.keep_up      the PG's own list against the books: look ≈≈≈ → settlement, refund_settlement, findings
    restoring.adopt             what a restored database forgot: look ≈≈≈ → rows, then settlement
    delivery.deliver            what the host is told

    worker.renew                one pass: the roads of charges, notices and refunds until nothing is due

≈≈≈ is the wire; no transaction is open while it lasts. `charging` is the only caller of `gateway.charge`, `keying_in` of
`gateway.charge_card`, `refunding` of `gateway.cancel`; `settlement` and `refund_settlement` alone book how it ended. The
drawing with all arrows stands in `docs/architecture.md`; start with `settlement.py` beside `domain/settlement.py`.
"""
