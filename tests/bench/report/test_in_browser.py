"""The report in a real browser: hostile names are text, tables sort, everyone can read it."""

import json
from itertools import pairwise

import pytest

from pks4.bench.report import report
from pks4.bench.view.view import View
from tests.factories.records import cost_records, failed, frame, header, synthetic_run
from tests.tools.browser import BINARY, Chromium

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BINARY is None, reason="no chromium on PATH")]

EVIL = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
# Text that is on the screen, darkest and lightest first: [contrast, tag, words].
CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const found = rgba(getComputedStyle(e).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const known = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const e = text.parentElement;
    if (!text.data.trim() || e.closest("[aria-hidden], script, style") || !e.checkVisibility())
      continue;
    const style = getComputedStyle(e);
    const key = style.color + getComputedStyle(e.closest("td, th, p, li") ?? e).backgroundColor;
    if (known.has(key)) continue;
    const [a, b] = [light(rgba(style.color)), light(behind(e))].sort((x, y) => y - x);
    known.set(key, [(a + 0.05) / (b + 0.05), e.tagName, text.data.trim().slice(0, 40)]);
  }
  return [...known.values()];
})()"""


def view_of(records):
    return View(frame(records), header(records))


def written(folder, records):
    """The page of these records, and the folder that its links lead to."""
    path = folder / "run.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (header(records), *records)), "utf-8")
    return report.write(path, folder / "out")


@pytest.fixture(scope="module")
def chromium():
    with Chromium() as started:
        yield started


@pytest.fixture
def browser(chromium):
    if chromium.given_up:
        pytest.skip(chromium.given_up)
    yield chromium
    chromium.close_pages()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    long_table = [*synthetic_run(), *cost_records("pks4", 128)]  # 25 lines are folded away
    return written(tmp_path_factory.mktemp("plain"), long_table)


@pytest.fixture
def page(browser, file):
    return browser.open(file)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    records = [*synthetic_run(), failed("pks4", 16, "time", EVIL)]
    for one in records:
        one["title"] = f"{one['title']} {EVIL}"
        one["grid"] = EVIL if one["grid"] == "cost" else one["grid"]
    return written(tmp_path_factory.mktemp("hostile"), records)


def column(page, table, key):
    """The texts of a column of a table, from top to bottom."""
    return page.value(f"[...document.querySelectorAll('#table-{table} tbody tr')].map("
                      f"r => r.cells[{place(page, table, key)}].textContent.trim())")  # fmt: skip


def place(page, table, heading):
    heads = page.value(f"[...document.querySelectorAll('#table-{table} thead th')].map("
                       "h => h.textContent)")  # fmt: skip
    return next(i for i, words in enumerate(heads) if words.startswith(heading))


def click(page, table, heading):
    """Click on a heading; gives what the heading then says of the order."""
    head = f"document.querySelectorAll('#table-{table} thead th')[{place(page, table, heading)}]"
    page.value(f"{head}.querySelector('button').click()")
    return page.value(f"{head}.ariaSort")


def test_hostile_names_are_shown_as_text_and_nothing_of_theirs_runs(browser, hostile):
    page = browser.open(hostile)
    assert "owned" not in page.value("document.title")
    assert page.value("document.scripts.length") == 1
    assert page.value("document.querySelectorAll('img[src=x]').length") == 0
    shown = page.value("document.querySelector('#table-headline tbody th').textContent")
    assert shown.endswith(EVIL)
    assert EVIL in page.value("document.querySelector('#failures').textContent")
    assert page.said == []
    assert page.requested == [hostile.as_uri()]


def test_no_script_but_the_pages_own_may_run(page):
    page.value("""(() => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'owned'";
      document.body.append(script);
    })()""")
    assert page.value("document.title") != "owned"
    assert any("Content Security Policy" in json.dumps(one) for one in page.said)


def test_it_loads_nothing_and_says_nothing(page, file):
    assert page.said == []
    assert page.requested == [file.as_uri()]


def test_a_click_sorts_by_the_raw_value_then_the_other_way_then_as_it_was(page):
    before = column(page, "headline", "contestant")
    assert click(page, "headline", "kept for backward") == "ascending"
    kept = column(page, "headline", "kept for backward")
    assert kept == ["0", "256", "5,376", "6,400", "7,040", "7,680"]  # MiB; as words 5,376 is last
    assert click(page, "headline", "kept for backward") == "descending"
    assert column(page, "headline", "kept for backward") == kept[::-1]
    assert click(page, "headline", "kept for backward") == "none"
    assert column(page, "headline", "contestant") == before


def test_names_sort_without_their_marks_and_one_column_at_a_time(page):
    click(page, "headline", "kept for backward")
    assert click(page, "headline", "contestant") == "ascending"
    names = [words.lstrip("◆●■▲✖") for words in column(page, "headline", "contestant")]
    assert names == sorted(names, key=str.lower)
    assert page.value("document.querySelectorAll('#table-headline [aria-sort$=ending]').length"
                      ) == 1  # fmt: skip


def test_missing_numbers_are_last_both_ways(page):
    for _ in ("ascending", "descending"):
        click(page, "time", "step ratio")
        assert column(page, "time", "step ratio")[-2:] == ["–", "–"]  # noqa: RUF001 - PKS4's own


def test_equal_values_keep_their_order(page):
    order = column(page, "cost", "contestant")
    click(page, "cost", "T")
    assert column(page, "cost", "T")[:6] == ["8"] * 6
    assert column(page, "cost", "contestant")[:6] == list(dict.fromkeys(order))


def test_a_rule_stands_where_the_contestant_changes_in_any_order(page):
    ruled = """[...document.querySelectorAll('#table-cost tbody tr')].map((row, i, rows) =>
      [row.classList.contains("new"), row.querySelector("th").textContent
        !== rows[i - 1]?.querySelector("th").textContent])"""
    for heading in ("contestant", "T", "forward"):
        assert all(is_new == changes for is_new, changes in page.value(ruled))
        click(page, "cost", heading)
    assert all(is_new == changes for is_new, changes in page.value(ruled))


def test_headings_go_down_one_step_at_a_time(page):
    levels = page.value("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map("
                        "h => Number(h.tagName[1]))")  # fmt: skip
    assert levels.count(1) == 1
    assert all(low <= high + 1 for high, low in pairwise(levels))


def test_every_picture_is_drawn_and_told_in_words(page):
    pictures = page.value("[...document.images].map(i => [i.alt, i.naturalWidth])")
    assert pictures
    assert all(words and width for words, width in pictures)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(page, scheme):
    page.medium(scheme=scheme)
    page.value("document.querySelectorAll('details').forEach(d => { d.open = true })")
    page.value("location.hash = 'r-1'")
    faint = [found for found in page.value(CONTRASTS) if found[0] < 4.5]
    assert faint == []


def test_dark_is_dark_and_light_is_light(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.value(ground) == "rgb(251, 250, 247)"
    page.medium(scheme="dark")
    assert page.value(ground) == "rgb(23, 24, 26)"


@pytest.mark.parametrize("width", [320, 400, 800])
def test_a_narrow_page_does_not_scroll_sideways(page, hostile, width):
    for address in (page.value("location.href"), hostile.as_uri()):
        page.load(address)
        page.resize(width, 800)
        page.value("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.value("document.documentElement.scrollWidth") <= width


def test_a_number_leads_to_its_record(page):
    seen = "document.querySelector(location.hash || '#records tbody tr').checkVisibility()"
    assert not page.value("document.querySelector('#records tbody tr').checkVisibility()")
    page.value("document.querySelector('#table-headline td a').click()")
    assert page.value("location.hash").startswith("#r-")
    assert page.value(seen)


def test_in_print_the_tables_are_open_and_the_records_are_not(page):
    seen = "['#table-cost td', '#records td'].map(s => document.querySelector(s).checkVisibility())"
    assert page.value(seen) == [False, False]
    page.medium(name="print")
    assert page.value(seen) == [True, False]


def test_without_scripts_the_page_says_the_same(browser, file):
    with_script = browser.open(file)
    without = browser.open(file)
    without.send("Emulation.setScriptExecutionDisabled", value=True)
    without.load(file.as_uri())
    assert without.value("document.querySelectorAll('thead button').length") == 0
    words = "document.querySelector('main').textContent.replace(/\\s+/g, ' ')"
    assert without.value(words) == with_script.value(words)
