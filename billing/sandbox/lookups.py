"""Look-ups of payments: by id, by order number, in bulk, by status; with the PG's quirks."""

from collections.abc import Sequence
from typing import Any

from billing.sandbox import payments
from billing.sandbox.call import Call
from billing.sandbox.wire import Refused, Reply, flag, listing, number

NOT_FOUND = "존재하지 않는 결제정보입니다."
BAD_STATUS = "지원되지 않는 상태값입니다."
_STATUSES = ("ready", "paid", "cancelled", "failed")
_SORTS = {
    "started": "started_at, seq",
    "-started": "started_at DESC, seq DESC",
    "paid": "paid_at, seq",
    "-paid": "paid_at DESC, seq DESC",
    "updated": "updated_at, seq",
    "-updated": "updated_at DESC, seq DESC",
}
_IDS_MAX = 100
_LIMIT_MAX = 1000
_LIMIT = 20
_WINDOW_SECONDS = 90 * 86_400


def one(call: Call) -> dict[str, Any]:
    """Show one payment by imp_uid.

    Test payments are hidden unless `include_sandbox=true`: a paid one looks like a 404.

    Source: PortOne REST V1, `GET /payments/{imp_uid}`, since 2026-01-26.
    """
    row = payments.by_imp_uid(call, call.ids[0])
    hidden = row is not None and row["sandbox"] and not flag(call.query, "include_sandbox")
    if row is None or hidden or row["visible_at"] > call.now:
        raise call.not_found(NOT_FOUND)
    return payments.annotation(call, row)


def many(call: Call) -> Reply:
    """Show up to 100 payments by either id: 200 when all are found, 207 when some are, 404 when none is.

    Source: PortOne REST V1, `GET /payments?imp_uid[]=&merchant_uid[]=`.
    """
    imp_uids = list(dict.fromkeys(listing(call.query, "imp_uid")))
    merchant_uids = list(dict.fromkeys(listing(call.query, "merchant_uid")))
    if not 0 < len(imp_uids) + len(merchant_uids) <= _IDS_MAX:
        raise Refused(1, f"imp_uid, merchant_uid는 합하여 1개 이상 {_IDS_MAX}개 이하여야 합니다.", status=400)
    found: dict[str, Any] = {}
    missing = 0
    for imp_uid in imp_uids:
        row = payments.by_imp_uid(call, imp_uid)
        rows = [row] if row is not None and _is_seen(call, row, call.config.batch_hides_sandbox) else []
        missing += not rows
        found.update((row["imp_uid"], row) for row in rows)
    for merchant_uid in merchant_uids:
        rows = _records(call, merchant_uid, "-started", hides=call.config.batch_hides_sandbox)
        missing += not rows
        if not call.config.batch_lists_every_record:
            rows = rows[:1]
        found.update((row["imp_uid"], row) for row in rows)
    if not found:
        raise call.not_found(NOT_FOUND)
    return Reply([payments.annotation(call, row) for row in found.values()], 207 if missing else 200)


def find(call: Call) -> dict[str, Any]:
    """Show the first payment of an order number: by default the newest started, whatever became of it.

    Source: PortOne REST V1, `GET /payments/find/{merchant_uid}/{payment_status}`.
    """
    rows = _of_order(call)
    if not rows:
        raise call.not_found(NOT_FOUND)
    return payments.annotation(call, rows[0])


def find_all(call: Call) -> dict[str, Any]:
    """List every payment of an order number. Source: PortOne REST V1, `GET /payments/findAll/...`."""
    rows = _of_order(call)
    if not rows:
        raise call.not_found(NOT_FOUND)
    return paged(call, rows)


def by_status(call: Call) -> dict[str, Any]:
    """List payments by status within at most 90 days, each compared by the instant it reached its status.

    Source: PortOne REST V1, `GET /payments/status/{payment_status}`.
    """
    status = call.ids[0]
    if status != "all" and status not in _STATUSES:
        raise Refused(1, BAD_STATUS, status=400)
    asked_to, asked_from = number(call.query, "to"), number(call.query, "from")
    to = int(call.now) if asked_to is None else asked_to
    since = to - _WINDOW_SECONDS if asked_from is None else asked_from
    if since > to or to - since > _WINDOW_SECONDS:
        raise Refused(1, "조회기간은 최대 90일까지 가능합니다.", status=400)
    where = "moved_at >= ? AND moved_at < ? AND visible_at <= ?"
    values: list[Any] = [since, to + 1, call.now]  # the named second belongs to the window whole
    if status != "all":
        where += " AND status = ?"
        values.append(status)
    if call.config.find_hides_sandbox:
        where += " AND NOT sandbox"
    total = call.state.one(f"SELECT count(*) AS n FROM payments WHERE {where}", values)["n"]  # noqa: S608 - text is ours
    page, limit = page_of(call)
    if page > 1 and (page - 1) * limit >= total:
        raise Refused(1, "조회 가능한 페이지 범위를 초과하였습니다.", status=400)
    rows = call.state.all(
        f"SELECT * FROM payments WHERE {where} ORDER BY {_sorting(call)} LIMIT ? OFFSET ?",  # noqa: S608 - text is ours
        [*values, limit, (page - 1) * limit],
    )
    return page_object(total, page, limit, [payments.annotation(call, row) for row in rows])


def balance(call: Call) -> dict[str, Any]:
    """Show how what is left of a payment divides into tax-free part, supply and VAT.

    Source: PortOne REST V1, `GET /payments/{imp_uid}/balance`, `PaymentBalanceResponse`.
    """
    row = payments.by_imp_uid(call, call.ids[0])
    if row is None or row["visible_at"] > call.now:
        raise call.not_found(NOT_FOUND)
    left = row["amount"] - row["cancel_amount"] if payments.took_money(row) else 0
    vat = left * 10 // 110
    nothing = {"tax_free": 0, "supply": 0, "vat": 0, "service": 0}
    primary = {"tax_free": 0, "supply": left - vat, "vat": vat, "service": 0}
    parts = {"cash_receipt": nothing, "primary": primary, "secondary": nothing, "discount": nothing}
    return {"amount": left, **parts, "histories": [{**parts, "created": int(row["paid_at"])}]}


def paged(call: Call, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the asked page of payment rows as the PG's page object."""
    page, limit = page_of(call)
    part = rows[(page - 1) * limit : page * limit]
    if not part and page > 1:
        raise Refused(1, "조회 가능한 페이지 범위를 초과하였습니다.", status=400)
    return page_object(len(rows), page, limit, [payments.annotation(call, row) for row in part])


def page_object(total: int, page: int, limit: int, listed: list[Any]) -> dict[str, Any]:
    """Wrap a page. Source: PortOne REST V1, `PagedPaymentAnnotation`: previous and next are 0 where there is none."""
    following = page + 1 if page * limit < total else 0
    return {"total": total, "previous": page - 1, "next": following, "list": listed}


def page_of(call: Call) -> tuple[int, int]:
    """Return page (from 1) and limit (20, at most 1000) of a list call."""
    page, limit = number(call.query, "page"), number(call.query, "limit")
    page, limit = 1 if page is None else page, _LIMIT if limit is None else limit
    if page < 1 or not 1 <= limit <= _LIMIT_MAX:
        raise Refused(1, f"page는 1 이상, limit은 1 이상 {_LIMIT_MAX} 이하여야 합니다.", status=400)
    return int(page), int(limit)


def _of_order(call: Call) -> list[Any]:
    status = call.ids[1] if len(call.ids) > 1 else None
    if status is not None and status not in _STATUSES:
        raise Refused(1, BAD_STATUS, status=400)
    rows = _records(call, call.ids[0], _sorting_name(call), hides=call.config.find_hides_sandbox)
    return [row for row in rows if status is None or row["status"] == status]


def _records(call: Call, merchant_uid: str, sorting: str, *, hides: bool) -> list[Any]:
    rows = call.state.all(
        f"SELECT * FROM payments WHERE uid_key = ? AND visible_at <= ? ORDER BY {_SORTS[sorting]}",  # noqa: S608
        (call.uid_key(merchant_uid), call.now),
    )
    return [row for row in rows if not (hides and row["sandbox"])]


def _is_seen(call: Call, row: Any, hides: bool) -> bool:
    return row["visible_at"] <= call.now and not (hides and row["sandbox"])


def _sorting_name(call: Call) -> str:
    asked = str(call.query.get("sorting") or "-started")
    if asked not in _SORTS:
        raise Refused(1, "지원되지 않는 정렬기준입니다.", status=400)
    return asked


def _sorting(call: Call) -> str:
    return _SORTS[_sorting_name(call)]
