"""The page: one script that the browser is told the hash of, raw values to sort by, contrast."""

import base64
import hashlib
import re
from fractions import Fraction

import pytest

from pks4.bench.report import report
from pks4.bench.report.figures import palette
from pks4.bench.report.page import sort_value
from pks4.bench.table import TableCell
from pks4.bench.view.view import FAMILIES, View
from tests.factories.records import cost_records, frame, header

READABLE = 4.5  # WCAG 2.2, contrast of text, level AA
TEXTS, GROUNDS = ("ink", "soft", "accent", "bad"), ("paper", "card", "band")


@pytest.fixture(scope="module")
def html():
    records = [*cost_records("pks4", 8), *cost_records("joint", 8)]
    return report.page(report.build(View(frame(records), header(records))))


def test_the_policy_names_the_hash_of_the_script_that_is_there(html):
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script-src 'unsafe" not in policy


def test_a_scaled_number_is_sorted_by_its_raw_value(html):
    assert '<td class="n" data-value="33554432">' in html  # 32.0 MiB, PKS4 at 8 frames
    assert '<th scope="row" data-value="Joint attention">' in html


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (TableCell(value=8, text="8"), None),  # the text says it
        (TableCell(value=1536, text="1.50 KiB"), "1536"),
        (TableCell(value=0.25, text="25.0 [20 to 30]"), "0.25"),
        (TableCell(value=str(Fraction(1, 8)), text="0.125 GMAC"), "0.125"),
        (TableCell(value="2 to 3", text="2 to 3"), None),
        (TableCell(value=None, text="not reached in 6 epochs"), None),
    ],
)
def test_what_a_field_of_a_numeric_column_is_sorted_by(entry, value):
    assert sort_value(entry) == value


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def themes(html):
    """Light, dark and print: names of colours and their values, each of six digits."""
    light, *others = (
        {name: whole(value) for name, value in re.findall(r"--(\w+): #(\w+)", root)}
        for root in re.findall(r":root \{(.*?)\}", html, re.S)
    )
    assert len(others) == 2
    return [light, *(light | other for other in others)]


def whole(digits):
    return f"#{digits if len(digits) == 6 else ''.join(2 * sign for sign in digits)}"


def test_black_on_white_has_a_contrast_of_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("ground", GROUNDS)
def test_text_stands_out_on_every_ground_in_light_dark_and_print(html, text, ground):
    for theme in themes(html):
        assert contrast(theme[text], theme[ground]) >= READABLE


@pytest.mark.parametrize("family", [*FAMILIES, "a family of someone else's"])
def test_names_in_figures_stand_out_on_white(family):
    assert contrast(palette.ink(family), "#ffffff") >= READABLE
