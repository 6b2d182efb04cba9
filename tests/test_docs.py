"""What the documents say holds: their code runs, their links, commands and suites are there."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pks4.bench.contestants import catalogue, own
from pks4.bench.plan.suite import parse_suite
from pks4.cli import app
from tests.tools import documents

ROOT = Path(__file__).parents[1]
RUN = ["README.md", "docs/plug_in.md", "docs/extend.md", "docs/library.md"]
FOLDERS = ["README.md", "CONTRIBUTING.md", "results/README.md", "reports/README.md"]
PAGES = [*FOLDERS, *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
SUITES = catalogue.suites().keys()
HOOK = "docs/hooks/repository_files.py"


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def build(folder, site):
    """`mkdocs build --strict` of the site in a folder: exit code and what it said."""
    if not (find_spec("mkdocs") and find_spec("material")):
        pytest.fail("the site needs mkdocs-material: pip install -e '.[docs]'")
    words = ["build", "--strict", "-f", folder / "mkdocs.yml", "-d", site]
    done = subprocess.run([sys.executable, "-m", "mkdocs", *map(str, words)], capture_output=True)
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.fixture
def small_site(tmp_path):
    """A function that builds a site with this one's settings, of these pages and files."""
    (tmp_path / "docs/hooks").mkdir(parents=True)
    shutil.copy(ROOT / HOOK, tmp_path / HOOK)

    def made(nav, files):
        settings = f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [{nav}]\n"
        for name, text in {"mkdocs.yml": settings, **files}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return build(tmp_path, tmp_path / "site")

    return made


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_python_in_the_documents_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(own.OWN, "")
    code = re.findall(r"^```python\n(.*?)^```", read(page), re.M | re.S)
    assert code
    exec(compile("\n".join(code), page, "exec"), {"__name__": page})


def test_a_suite_that_is_shown_is_one():
    for text in re.findall(r"^```toml\n(.*?)^```", read("docs/extend.md"), re.M | re.S):
        parse_suite(text, "docs/extend.md")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    code, said = build(ROOT, tmp_path)
    assert code == 0, said
    for page in PAGES:
        if page.startswith("docs/"):
            html = (tmp_path / Path(page).relative_to("docs").with_suffix(".html")).read_text()
            loads = re.findall(r"<script.*?</script>|<(?:link|img|iframe)[^>]*>", html, re.S)
            assert not [tag for tag in loads if "://" in tag], page


@pytest.mark.slow
def test_a_link_out_of_docs_leads_to_a_copy_on_the_site(small_site, tmp_path):
    files = {
        "docs/index.md": "# A\n[b](../other/b.md#b) and [c](../c)\n",
        "other/b.md": "# B\n[back](../docs/index.md#a) and [c](../c)\n",
        "c": "data",
    }
    code, said = small_site("index.md, repository/other/b.md", files)
    assert code == 0, said
    assert (tmp_path / "site/repository/c").read_text() == "data"
    assert 'href="repository/other/b.html#b"' in (tmp_path / "site/index.html").read_text()
    assert 'href="../../index.html#a"' in (tmp_path / "site/repository/other/b.html").read_text()


@pytest.mark.slow
def test_a_strict_build_names_what_is_wrong(small_site):
    text = "# A\n[x](none.md) [y](#none) [z](../none)\n"
    code, said = small_site("index.md", {"docs/index.md": text, "docs/lost.md": "# Lost\n"})
    assert code == 1
    for wrong in ("'none.md'", "'#none'", "'../none'", "lost.md"):
        assert wrong in said


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere_on_a_code_host(page):
    assert documents.broken_links(ROOT / page, ROOT) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One: two\n## Same\n## Same\n[a](#one-two) [b](page.md#same-1) [c](https://example.org)\n"
        "[d](#three) [e](none.md) [f](../..)\n`[g](none.md)`\n```\n# Code\n[h](none.md)\n```\n"
        "[i](#code)\n"
    )
    found = [line.split(": ")[1] for line in documents.broken_links(page, tmp_path)]
    assert found == ["#three", "none.md", "../..", "#code"]


@pytest.mark.parametrize("page", [*PAGES, "docs/ci/pks4-bench.yml"])
def test_every_command_that_is_shown_has_this_name_and_these_options(page):
    lines = documents.typed(read(page)) if page.endswith(".yml") else documents.commands(read(page))
    assert [said for line in lines if (said := documents.mistake(line, app, SUITES))] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pks4-bench run quick --fast  # it's short", ""),
        ("pks4-bench run quick --no-report --out=x > file --none", ""),
        ("pks4-bench run mine.toml", ""),
        ("pks4-bench run SUITE --data …", ""),
        ("pks4-bench show model aim", ""),
        ("pks4-bench", ""),
        ("pks4-bench rum quick", "no command 'rum'"),
        ("pks4-bench show modle aim", "no command 'modle'"),
        ("pks4-bench data make temporal --frame 8", "no option '--frame' of 'make'"),
        ("pks4-bench run quik", "no suite 'quik'"),
    ],
)
def test_a_command_that_is_not_there_is_found(line, wrong):
    assert documents.mistake(line, app, SUITES).removeprefix(f"{line}: ") == wrong


def test_commands_are_read_from_blocks_and_from_between_backticks():
    text = (
        "Say `pks4-bench\nlist x`.\n```sh\n$ pks4-bench run \\\n  quick\necho\n```\npks4-bench no\n"
    )
    assert documents.commands(text) == ["pks4-bench run quick", "pks4-bench list x"]


def unmentioned(suites, text):
    """Suites that a text does not name between backticks."""
    return [name for name in suites if f"`{name}`" not in text]


def test_every_suite_is_told_of():
    assert unmentioned(SUITES, read("docs/suites.md")) == []
    assert unmentioned(["quick", "none"], read("docs/suites.md")) == ["none"]


def other_reports(text, root):
    """Reports that a text links beside a run, and that are of another one."""
    pairs = re.findall(
        r"\(\.{0,2}/?results/reference/([\w-]+)\.jsonl\.gz\),?\s+\(?\[report\]\([./]*(reports/\S+?\.md)\)",
        text,
    )
    assert pairs, "no run with its report beside it"
    heads = {report: (root / report).read_text(encoding="utf-8") for _, report in pairs}
    return [(run, report) for run, report in pairs if run not in heads[report].split("\n", 1)[0]]


@pytest.mark.parametrize("page", ["README.md", "docs/measurement.md"])
def test_a_report_beside_a_run_is_of_that_run(page):
    assert other_reports((ROOT / page).read_text(encoding="utf-8"), ROOT) == []


def test_a_report_of_another_run_is_told(tmp_path):
    report = tmp_path / "reports" / "r.md"
    report.parent.mkdir()
    report.write_text("# old-run\n")
    text = "[`a-run`](results/reference/a-run.jsonl.gz)\n([report](reports/r.md))"
    assert other_reports(text, tmp_path) == [("a-run", "reports/r.md")]
