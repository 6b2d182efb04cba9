"""Links that lead out of docs/ work on the site too: what they name comes along, in `repository/`.

A page says `../suites/claims.toml`, as a code host wants it. This hook copies that file into the
site and turns the link to the copy. A Markdown file becomes a page of the site, and its links are
treated alike: a report brings the figures and tables that it shows. The strict build names what is
missing.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS, REPOSITORY = "docs/", "repository/"  # where a page lies: in the repository, on the site
LINK = re.compile(r"(?<=\]\()[^)\s#]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the navigation and pages name outside docs/, and what that names in turn."""
    waiting = [in_repository(uri) for uri in named(config.nav) if uri.startswith(REPOSITORY)]
    for page in files.documentation_pages():
        waiting += linked(in_repository(page.src_uri), page.content_string)
    while waiting:
        path = waiting.pop()
        uri = site_uri(path)
        if files.get_file_from_path(uri):
            continue
        file = File.generated(config, uri, abs_src_path=str(ROOT / path))
        files.append(file)
        if file.is_documentation_page():
            waiting += linked(path, file.content_string)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links into the repository turned to places on the site."""
    uri = page.file.src_uri
    where = in_repository(uri)

    def turned(link: re.Match[str]) -> str:
        path = resolved(where, link[0])
        start = posixpath.dirname(uri) or "."
        return posixpath.relpath(site_uri(path), start) if path else link[0]

    return LINK.sub(turned, markdown)


def named(nav: Any) -> Iterator[str]:
    """The pages that a navigation, or a part of it, names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav or ():
            yield from named(part)


def linked(where: str, text: str) -> Iterator[str]:
    """Files of the repository that the Markdown at `where` links to."""
    return filter(None, (resolved(where, link) for link in LINK.findall(text)))


def resolved(where: str, link: str) -> str | None:
    """The file of the repository that a link at `where` names, or None for anything else."""
    if ":" in link or link.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(where), link))
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def in_repository(uri: str) -> str:
    """Where a source of the site lies in the repository."""
    return uri.removeprefix(REPOSITORY) if uri.startswith(REPOSITORY) else DOCS + uri


def site_uri(path: str) -> str:
    """Where a file of the repository lies among the site's sources."""
    return path.removeprefix(DOCS) if path.startswith(DOCS) else REPOSITORY + path
