"""The README in Chinese says what the README says: the same sections, commands, tables and links, in the same order."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```.*?```", re.DOTALL)


def parts_of(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    prose = re.sub(r"\[.*\]\(README(_CN)?\.md\)", "", BLOCK.sub("", text))  # each leads to the other
    return {
        "commands and code": BLOCK.findall(text),
        "depths of the headings": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        "links of each section": [re.findall(r"\]\(([^)]+)\)", part) for part in re.split(r"^#+ ", prose, flags=re.M)],
        "rows of the tables": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "points": len(re.findall(r"^- ", prose, re.MULTILINE)),
        "names": sorted(re.findall(r"`[^`\n]+`", prose)),
        "figures": sorted(re.findall(r"(?<![\w.])\d+\.\d+(?!\w|\.\d)", prose, re.ASCII)),
    }


def test_both_have_the_same_parts():
    english, chinese = parts_of("README.md"), parts_of("README_CN.md")
    assert len(english["commands and code"]) > 5 and english["figures"]
    for what, expected in english.items():
        assert chinese[what] == expected, what


@pytest.mark.parametrize("name", ["README.md", "README_CN.md", "CONTRIBUTING.md"])
def test_their_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / name).read_text(encoding="utf-8")):
        assert link.startswith("https://") or (ROOT / link).exists(), link
