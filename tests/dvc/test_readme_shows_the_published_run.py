"""README's tables and pictures are those of the published run.

`python tests/dvc/test_readme_shows_the_published_run.py` copies the tables between README's marks,
`<!-- results/published/tables/NAME.md -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RUN = Path("results", "published")
MARKED = re.compile(r"<!-- (results/published/tables/\S+\.md) -->\n(.*?)<!-- end -->\n", re.S)
MEASURED = re.compile(r"(?<!arXiv )\b\d+\.\d+")  # a number with a decimal point
PICTURE = re.compile(r"!\[[^]]*\]\(([^)]+)\)")


def table_of(path: str) -> str:
    """Return the table itself: what follows its title and comes before its notes."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith("|"))


def filled(readme: str) -> str:
    """Return README with each marked table as the published run has it."""
    return MARKED.sub(
        lambda match: f"<!-- {match[1]} -->\n{table_of(match[1])}<!-- end -->\n", readme
    )


def test_tables() -> None:
    readme = README.read_text(encoding="utf-8")
    assert MARKED.findall(readme), "README marks no table of the published run"
    assert readme == filled(readme), f"run: python tests/dvc/{Path(__file__).name}"


def test_no_other_table_holds_numbers() -> None:
    """A table that a hand copied is out of date with the next run."""
    rest = MARKED.sub("", README.read_text(encoding="utf-8"))
    copied = [line for line in rest.splitlines() if line.startswith("|") and MEASURED.search(line)]
    assert copied == []


def test_pictures() -> None:
    pictures = PICTURE.findall(README.read_text(encoding="utf-8"))
    assert pictures
    for picture in pictures:
        assert Path(picture).parent == RUN / "figures", picture
        assert (ROOT / picture).exists(), picture


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
