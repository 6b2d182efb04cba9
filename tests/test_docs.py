"""What the documents tell people to type works."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/plug_in.md"]


@pytest.mark.parametrize("page", PAGES)
def test_python_in_the_documents_runs_from_top_to_bottom(page):
    code = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    assert code
    exec(compile("\n".join(code), page, "exec"), {"__name__": page})
