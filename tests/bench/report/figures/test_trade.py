"""The trade of accuracy against costs: who is drawn, PKS4's line over its place, the front."""

import pytest

from pks4.bench.report.figures import trade
from pks4.bench.view.view import View
from tests.factories.records import clip_records, frame, header, planted, record

PLACES = {"pks4": ("middle", 0.8), "pks4_top": ("top", 0.4), "joint": (None, 0.6)}


def made(costs=True):
    """Two places of PKS4 and a rival, 3 seeds each; on top keeps the fewest bytes."""
    records = []
    for label, (place, share) in PLACES.items():
        options = {"insert_after": place} if place else {}
        ours = {"options": options, "family": "PKS4"} if place else {}
        seeds = {seed: planted(share, shift=seed) for seed in (0, 1, 2)}
        records += [one | ours for one in clip_records(label, seeds)]
        if costs:
            kept = {"pks4_top": 10, "pks4": 100, "joint": 400}[label] * 2**20
            records.append(record(label, 8, "saved_bytes", "saved_bytes", kept, unit="B") | ours)
    return View(frame(records), header(records))


def test_accuracy_is_drawn_against_what_was_counted_at_paper_scale():
    (plot,) = trade.build(made())
    assert "Costs: grid cost, paper scale" in plot.caption
    assert list(plot.data["cost"]) == ["saved_bytes"] * 3


def test_the_caption_says_who_is_on_the_front_and_how_surely():
    (plot,) = trade.build(made())
    assert "pks4_top (100 %) and PKS4 (frozen backbone) (100 %)" in plot.caption
    shares = dict(zip(plot.data["label"], plot.data["on_front_share"], strict=True))
    assert shares == {"pks4_top": 1.0, "pks4": 1.0, "joint": pytest.approx(0.0, abs=0.01)}


def test_places_of_pks4_are_joined_by_cost_and_nobody_else():
    view = made()
    (setting,) = view.settings("top1")
    points = trade._points(view, setting, "saved_bytes")
    assert [points[i].row.label for i in trade._line(view, points)] == ["pks4_top", "pks4"]


def test_a_run_without_costs_shows_no_trade():
    assert trade.build(made(costs=False)) == []
