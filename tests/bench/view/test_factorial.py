"""Mixers with and without priors: planted effects are found, and partial designs give none."""

import pytest

from pks4.bench.report.figures import factorial as figures
from pks4.bench.report.findings.factorial import scan_or_priors
from pks4.bench.report.tables.factorial import factorials
from pks4.bench.view import factorial
from pks4.bench.view.view import View
from tests.factories.records import clip_records, frame, header, planted

# mixer -> share with priors and without
SHARES = {"s6": (0.7, 0.5), "gru": (0.8, 0.6), "attention": (0.44, 0.44)}


def made(shares=SHARES, seeds=(0, 1, 2), **options):
    """A grid with each mixer twice; `options` are those of all with priors."""
    records = []
    for mixer, both in shares.items():
        for share, plain in zip(both, (False, True), strict=True):
            label = f"{mixer}_plain" if plain else mixer
            own = {"mixer": mixer} if mixer != "s6" else {}
            own |= {"modulate": []} if plain else options
            right = {seed: planted(share, shift=3 * seed) for seed in seeds}
            records += [
                one | {"family": "PKS4", "options": own} for one in clip_records(label, right)
            ]
    return View(frame(records), header(records))


def found(view):
    (setting,) = view.settings("top1")
    return {
        (one.kind, one.level_of and one.level_of.mixer): one
        for one in factorial.effects(view, setting)
    }


def test_effects_are_what_was_planted():
    effects = found(made())
    assert effects["priors", None].value == pytest.approx(0.4 / 3)
    assert effects["mixer", "gru"].value == pytest.approx(0.7 - 0.58)
    assert effects["priors on", "s6"].value == pytest.approx(0.2)
    assert effects["interaction", "attention"].value == pytest.approx(-0.4 / 3)
    assert {one.family for one in effects.values()} == {1 + 3 * 3}
    assert {one.seeds for one in effects.values()} == {3}


def test_verdicts_weigh_all_effects_at_once():
    effects = found(made())
    assert effects["priors", None].verdict == "raises"
    assert effects["mixer", "attention"].verdict == "lowers"
    assert effects["priors on", "attention"].verdict == "inconclusive"
    low, high = effects["priors", None].interval
    assert low < 0.4 / 3 < high


@pytest.mark.parametrize(
    "view",
    [
        made({"s6": SHARES["s6"]}),
        made(correlation=False),
        made(modulate=["delta"]),
        View((), {}),
    ],
    ids=["one mixer", "one prior", "one gate", "no records"],
)
def test_no_factorial_without_two_mixers_that_have_both_priors_and_none(view):
    assert not factorials(view).rows
    assert not list(scan_or_priors(view))
    assert not figures.build(view)


def test_the_sentence_says_what_priors_and_mixers_bring():
    (finding,) = scan_or_priors(made())
    assert finding.words.startswith("Scan or priors, on temporal: priors change top-1 by +13.3 [")
    assert "from the worst mixer to the best it is 26.0 points" in finding.words
    assert "Best: gru_plain (+12.0" in finding.words
    assert "The selective scan: +2.0 [" in finding.words
    assert "Priors act otherwise than on the mean with" in finding.words


def test_the_table_holds_every_effect_and_the_figure_every_mixer():
    view = made()
    assert len(factorials(view).rows) == 10
    (plot,) = figures.build(view)
    assert "over all mixers +13.3" in plot.caption
