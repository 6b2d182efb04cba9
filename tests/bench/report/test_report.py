"""Report: one escaped page whose sentences follow from the records; put in place at once or not."""

import json
from html.parser import HTMLParser

import pytest

from pks4.bench.claims import claims as claims_file
from pks4.bench.claims import judge
from pks4.bench.contestants import published
from pks4.bench.records import accepted, run_file
from pks4.bench.report import report, summary
from pks4.bench.report.findings import costs as cost_findings
from pks4.bench.view.view import View
from pks4.errors import UserError
from tests.factories import runs as made_runs
from tests.factories.records import (
    COSTS,
    RUN,
    accuracy_records,
    cost_records,
    failed,
    frame,
    header,
    record,
    synthetic_run,
)


def view_of(records, missing=None):
    return View(frame(records), header(records), missing)


def sentences(records):
    return [found.words for found in cost_findings.build(view_of(records))]


def save(records, path, torn=""):
    lines = [json.dumps(one) for one in (header(records), *records)]
    path.write_text("\n".join(lines) + "\n" + torn, "utf-8")
    return path


class Page(HTMLParser):
    """Collects tags with their attributes, so that a test can ask what a page loads and links."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    records = synthetic_run()
    return report.write(save(records, folder / "run.jsonl", '{"torn'), folder / "out")


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text("utf-8"))


def test_the_folder_holds_page_summary_tables_and_figures(written):
    names = {str(p.relative_to(written.parent)) for p in written.parent.rglob("*") if p.is_file()}
    assert {"report.html", "report.md", ".pks4-report"} <= names
    assert {"tables/cost.csv", "tables/cost.md", "tables/failures.csv"} <= names
    assert {f"figures/headline.{kind}" for kind in ("svg", "png", "pdf")} <= names
    assert {f"tables/cost.{kind}" for kind in ("csv", "md", "tex")} <= names
    assert [p.name for p in written.parent.parent.iterdir() if ".new" in p.name] == []


def test_the_page_loads_nothing(page, written):
    assert page.all("script") == [{}]
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    beside = ("#", "tables/", "figures/")
    out = [a for a in page.all("a") if not a["href"].startswith(beside)]
    assert all(a["href"].startswith("https://") and a["rel"] == "noreferrer" for a in out)
    assert {a["href"] for a in out} <= {figure.source_url for figure in published.read()}
    assert "url(" not in written.read_text("utf-8")


def test_every_link_on_the_page_leads_somewhere(page, written):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for link in (a for a in page.all("a") if "rel" not in a):  # the others lead out of it
        if link["href"].startswith("#"):
            assert link["href"][1:] in ids
        else:
            assert (written.parent / link["href"]).is_file()


def test_numbers_in_tables_name_their_record(page):
    titles = [link.get("title", "") for link in page.all("a")]
    assert f"cost/pks4/t64 · macs_forward = {18 * 64 * 10**9} MAC (exact)" in titles


def test_tables_are_accessible(page):
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_page_says_what_pks4_is_here_and_what_was_torn(written):
    text = written.read_text("utf-8")
    assert "reconstruction from the abstract of arXiv 2604.26461" in text
    assert "no number here is the paper&#39;s" in text
    assert "with uncommitted changes" in text
    assert "is torn or foreign" in text


def test_strings_from_records_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    records = [*cost_records("pks4", 8), failed("joint", 8, "time", evil)]
    for one in records:
        one["title"] = one["grid"] = evil
    html = report.page(report.build(view_of(records)))
    assert html.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    words = summary.markdown(view_of(records), cost_findings.build(view_of(records)), [], [])
    assert "<script" not in words


@pytest.mark.slow
def test_two_writes_are_equal(written, tmp_path):
    again = report.write(written.parent.parent / "run.jsonl", tmp_path / "again")
    for path in sorted(p for p in written.parent.rglob("*") if p.is_file()):
        assert (again.parent / path.relative_to(written.parent)).read_bytes() == path.read_bytes()


def test_an_older_report_is_replaced_as_a_whole(tmp_path):
    path = save(cost_records("pks4", 8), tmp_path / "run.jsonl")
    out = tmp_path / "out"
    report.write(path, out)
    (out / "stale.txt").write_text("old")
    report.write(path, out)
    assert not (out / "stale.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run.jsonl"]


def test_a_foreign_folder_is_refused_and_untouched(tmp_path):
    path = save(cost_records("pks4", 8), tmp_path / "run.jsonl")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not a report of pks4-bench"):
        report.write(path, tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="is not a report of pks4-bench"):
        report.write(path, path)


def test_an_empty_folder_is_taken(tmp_path):
    path = save(cost_records("pks4", 8), tmp_path / "run.jsonl")
    (tmp_path / "new").mkdir()
    assert report.write(path, tmp_path / "new").is_file()


def test_an_integer_that_no_float_can_hold_reaches_the_csv(tmp_path):
    macs = record("pks4", 8, "macs", "macs_forward", 2**53 + 1, unit="MAC")
    share = record("pks4", 8, "accuracy", "top1", 0.5, kind="sampled")
    page = report.write(save([macs, share], tmp_path / "run.jsonl"), tmp_path / "out")
    assert "9007199254740993" in (page.parent / "tables" / "cost.csv").read_text("utf-8")


def test_failed_cells_do_not_break_the_report():
    records = [failed(label, 8, "macs", "killed") for label in COSTS]
    html = report.page(report.build(view_of(records)))
    assert "killed" in html
    assert "no record of saved_bytes" in html


def test_a_run_that_holds_no_record_yet_gives_a_report(tmp_path):
    records = cost_records("pks4", 8)
    (tmp_path / "run.jsonl").write_text(json.dumps(header(records)) + "\n", "utf-8")
    text = report.write(tmp_path / "run.jsonl", tmp_path / "out").read_text("utf-8")
    assert "the run holds no record yet" in text
    assert "its records are not all there" in text


def test_the_summary_links_what_lies_beside_it(written):
    words = (written.parent / "report.md").read_text("utf-8")
    assert words.startswith(f"# {RUN}")
    assert "(figures/headline.svg)" in words
    assert "(tables/cost.csv)" in words


def test_the_leanest_is_looked_up():
    said = sentences([r for label in ("pks4", "adapter") for r in cost_records(label, 8)])
    assert any("PKS4 (frozen backbone), with 32.0 MiB" in words for words in said)
    said = sentences([r for label in ("pks4_tuned", "adapter") for r in cost_records(label, 8)])
    assert any("ST-Adapter, with 672 MiB" in words and "place 2 of 2" in words for words in said)


def test_a_tie_is_told_as_a_tie():
    records = [*cost_records("pks4", 8), *(r for r in cost_records("adapter", 8))]
    for one in records:
        one["value"] = 32 * 2**20 if one["metric"] == "saved_bytes" else one["value"]
    memory = next(words for words in sentences(records) if words.startswith("Leanest"))
    assert "PKS4 (frozen backbone) and ST-Adapter, with 32.0 MiB" in memory


def test_a_tuned_backbone_ends_the_memory_advantage_if_the_data_say_so():
    said = sentences(synthetic_run())
    told = [words for words in said if "memory advantage" in words]
    assert len(told) == 1
    assert told[0].startswith("PKS4 (tuned backbone) keeps 7.50 GiB")
    assert "no less than 1 of 1 adapters" in told[0]
    assert "96.7 % of its parameters" in told[0]


def test_growth_of_joint_attention_against_growth_in_proportion():
    grown = next(words for words in sentences(synthetic_run()) if "MACs grow" in words)
    # 16 T + T²/8 from 136 to 1,536 is 11.29; T itself grows by 8
    assert "(8.00×)" in grown  # noqa: RUF001
    assert "most for Joint attention (11.3×) and least for 5 contestants (8.00×)" in grown  # noqa: RUF001


def test_what_plain_fvcore_misses_is_told():
    detail = {"macs": 200, "frames": 2}
    plain = record("joint", 8, "macs", "macs_fvcore_plain", 50, unit="MAC", detail=detail)
    said = sentences([*cost_records("joint", 8), plain])
    assert any("of 0 of 1 contestant" in w and "25.0 % at T = 2" in w for w in said)


def test_the_best_is_told_with_whether_it_is_settled():
    said = sentences(synthetic_run())
    temporal = next(words for words in said if words.startswith("Best top-1 on temporal"))
    assert "PKS4 (frozen backbone), 86.0 %" in temporal
    assert "The order against PKS4 (tuned backbone) is open" in temporal
    alone = [r for s in ("pks4", "mamba") for r in accuracy_records(s, "temporal")]
    assert any("No other contestant's interval reaches it." in words for words in sentences(alone))


def test_a_rival_that_wins_is_named():
    said = sentences([r for s in ("mamba", "joint") for r in accuracy_records(s, "temporal")])
    assert any(words.startswith("Best top-1 on temporal") and "Joint" in words for words in said)


def test_the_floor_is_held_against_one_half_within_pairs():
    said = sentences(synthetic_run())
    assert any(words.startswith("Mean of frames is at 50.5 %") for words in said)
    assert any("5 of 6 contestants" in words and "Direction in time" in words for words in said)


def test_verdicts_of_time_are_the_records_own():
    said = [words for words in sentences(synthetic_run()) if words.startswith("Time of")]
    assert len(said) == 2
    assert "inconclusive: Mean of frames (0.900×)" in said[0]  # noqa: RUF001
    assert "against PKS4 (frozen backbone)" in said[0]


def test_a_void_session_is_no_number_in_the_coverage():
    void = record("joint", 8, "time", "step_ratio", 1.0, kind="noisy", detail={"verdict": "void"})
    (coverage, *_) = sentences([*cost_records("pks4", 8), void])
    assert coverage.endswith("Of the planned measures 1 gave a time of a void session.")


def test_the_reference_of_times_is_not_told_beside_itself():
    itself = record(
        "pks4", 8, "time", "step_ratio", 1.0, kind="noisy", cell="time/pks4/t8", grid="time",
        scale="tiny", detail={"verdict": "inconclusive", "reference": "pks4"},
    )  # fmt: skip
    told = [words for words in sentences([*synthetic_run(), itself]) if words.startswith("Time of")]
    assert ["PKS4 (frozen backbone) (" in words for words in told] == [False, False]
    assert not any(words.startswith("Time of") for words in sentences([itself]))


def test_one_contestant_alone_gives_no_comparison():
    said = sentences(cost_records("pks4", 8))
    assert said == ["1 contestant of 1 family, 1 cell. Every planned measure gave its numbers."]


def test_a_family_that_is_not_ours_is_drawn_and_told():
    strangers = [record("x", 8, "saved_bytes", "saved_bytes", 5, unit="B", family="other")]
    said = sentences([*cost_records("pks4", 8), *strangers])
    assert any("other 1.49e-07×" in words for words in said)  # noqa: RUF001


def judged_claim(verdict="supported", evidence=("run:cost/pks4/t8:saved_bytes",), title="Lean"):
    """A claim of one test, as judged."""
    test = claims_file.Bound(
        kind="bound", name="bytes", reason="r", metric="saved_bytes", contestant="pks4", at_most=1.0
    )
    claim = claims_file.Claim(
        id="lean", title=title, says="s", scale="tiny", supported_when="it is",
        contradicted_when="it is not", measured_by=["pks4-bench run scaling"],
        caveats=["A frozen backbone only."], tests=[test],
    )  # fmt: skip
    found = judge.Found(verdict=verdict, effect="0.5 at T = 8", evidence=evidence)
    return judge.Judged(claim=claim, verdict=verdict, tests=((test, found),))


# Enough for a page about claims, without the time that all figures take.
FEW = [*cost_records("pks4", 8), *cost_records("joint", 8)]


def test_claims_come_first_with_their_tests_and_caveats():
    view = view_of(FEW)
    html = report.page(report.build(view, (), [judged_claim("contradicted")]))
    assert html.index('id="claims"') < html.index('id="shows"')
    assert 'class="s bad">contradicted' in html
    assert "0.5 at T = 8" in html
    assert html.index("0.5 at T = 8") < html.index("A frozen backbone only.")


def test_a_claims_row_has_its_scale_beside_the_title_and_no_effect():
    made = report.build(view_of(FEW), (), [judged_claim()])
    row, test = made.claims.rows
    assert (row["claim"].text, row["effect"].text) == ("Lean [tiny]", "")
    assert test["effect"].text == "0.5 at T = 8"
    assert [line["caveat"].text for line in made.caveats.rows] == ["A frozen backbone only."]


def test_a_claim_without_evidence_is_named_as_one_that_the_run_does_not_speak_to():
    silent = judged_claim(evidence=(), title="Fast <b>")
    made = report.build(view_of(FEW), (), [judged_claim(), silent])
    assert [line["claim"].text for line in made.claims.rows] == ["Lean [tiny]", "· bytes"]
    assert "does not speak to: Fast <b>" in made.claims.note
    assert "Fast <b>" not in report.page(made)


def test_the_reference_says_what_changed_and_its_table_lies_beside_the_others(tmp_path):
    runs = tmp_path / "results" / "runs"
    written = [made_runs.written(made_runs.made(name, saved=saved), runs)
               for name, saved in (("base-1", 1000), ("head-1", 1012))]  # fmt: skip
    accepted.accept(run_file.read(written[0]), "first", tmp_path / "results", "me")
    page = report.write(written[1], tmp_path / "out", tmp_path / "results")
    assert "Against base-1, the accepted run for" in page.read_text("utf-8")
    assert "1 changed" in page.read_text("utf-8")
    assert (page.parent / "tables" / "reference.csv").is_file()
    alone = report.write(written[1], tmp_path / "alone")
    assert "accepted run" not in alone.read_text("utf-8")


def test_without_claims_there_is_no_section_of_them():
    assert 'id="claims"' not in report.page(report.build(view_of(FEW)))
