"""What the documents hold, as their tests read it: links, headings, commands."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import typer

CODE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1", re.M | re.S)
TYPED = re.compile(r"^\s*(?:\$ )?(pks4-bench .*)", re.M)
ENDS = {"|", "||", "&&", ">", ">>", "2>", ";", "…"}  # of a command line, or of what is shown of it


def broken_links(page: Path, root: Path) -> list[str]:
    """Links of a page, by the rules of a code host, that lead nowhere in the folder `root`."""
    found = []
    prose = re.sub(r"`[^`]*`", "", CODE.sub("", page.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(root.resolve()) or not target.exists():
            found.append(f"{page.name}: {link}: no such file")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{page.name}: {link}: no such heading")
    return found


def anchors(text: str) -> set[str]:
    """What a code host calls the headings of a Markdown text; a second of a name gets `-1`."""
    found, seen = set(), Counter[str]()
    for heading in re.findall(r"^#+ +(.*?) *$", CODE.sub("", text), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def commands(text: str) -> list[str]:
    """Command lines of pks4-bench in a Markdown text: in blocks of code, and between backticks."""
    blocks = "\n".join(block for _, block in CODE.findall(text))
    inline = re.findall(r"`(pks4-bench\s[^`]*)`", CODE.sub("", text))
    return typed(blocks) + [" ".join(line.split()) for line in inline]


def typed(code: str) -> list[str]:
    """Lines of code that begin with pks4-bench, those that go on after a backslash as one."""
    return TYPED.findall(re.sub(r"\\\n\s*", "", code))


def mistake(line: str, app: typer.Typer, suites: Iterable[str]) -> str:
    """What a command line of pks4-bench names that is not there: a command, an option, a suite."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in ENDS), len(words))]
    command = typer.main.get_command(app)
    while words and (known := getattr(command, "commands", None)):
        if (name := words.pop(0)) not in known:
            return f"{line}: no command {name!r}"
        command = known[name]
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word.startswith("-") and word.split("=")[0] not in options | {"--help"}:
            return f"{line}: no option {word!r} of {command.name!r}"
    takes_suite = any(p.name == "suite" and p.param_type_name == "argument" for p in command.params)
    if takes_suite and words and re.fullmatch(r"[a-z]\w*", words[0]) and words[0] not in suites:
        return f"{line}: no suite {words[0]!r}"
    return ""
