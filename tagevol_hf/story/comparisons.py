"""A row's comparisons, by the other row."""

from __future__ import annotations

from typing import Any

from .folder import Folder, Row, all_with
from .values import Meeting, Order

_OTHER = {"first": "second", "second": "first"}


def meetings_of(folder: Folder, row_id: str) -> tuple[Meeting, ...]:
    """All comparisons of a row, in the order in which it met the others."""
    met: dict[str, list[tuple[Order, Row]]] = {}
    for pairs in folder.pairs():
        for place, other in _OTHER.items():
            for pair in all_with(pairs, f"{place}_id", row_id):
                met.setdefault(str(pair[f"{other}_id"]), []).append((_order(pair, place), pair))
    return tuple(_meeting(other, orders) for other, orders in met.items())


def _order(pair: Row, place: str) -> Order:
    mark = pair.get("rejection")
    fault = "" if mark is None else ": ".join(filter(None, (mark["reason"], mark["detail"])))
    own, other = pair.get(f"{place}_score"), pair.get(f"{_OTHER[place]}_score")
    return Order(place, own, other, str(pair.get("analysis") or ""), fault)


def _meeting(other: str, orders: list[tuple[Order, Row]]) -> Meeting:
    first, pair = orders[0]
    told = tuple(sorted((order for order, _ in orders), key=lambda order: order.place))
    texts: dict[str, Any] = {name: pair.get(f"{_OTHER[first.place]}_{name}") for name in ("instruction", "response")}
    return Meeting(
        other,
        str(texts["instruction"] or ""),
        str(texts["response"] or ""),
        bool(pair.get("across")),
        told,
        verdict_of(told),
    )


def verdict_of(orders: tuple[Order, ...]) -> str:
    """Who had more, over all orders that gave marks."""
    gains = [order.own - order.other for order in orders if order.own is not None and order.other is not None]
    if not gains:
        return "no marks"
    signs = {(gain > 0) - (gain < 0) for gain in gains}
    if len(signs) == 1:
        where = " in both orders" if len(gains) > 1 else ""
        return {1: "won", 0: "tied", -1: "lost"}[signs.pop()] + where
    return (
        "the verdict turned with the order"
        if {1, -1} <= signs
        else "won once, tied once"
        if 1 in signs
        else ("lost once, tied once")
    )
