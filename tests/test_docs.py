"""The documents name files that exist, and link to pages that exist."""

from __future__ import annotations

import re

import pytest

from .support.package import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
_MENTION = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml|sh|json))`")
_LINK = re.compile(r"\]\((?!\w+:)([^)#]*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page):
    text = page.read_text()
    named = [path for path in _MENTION.findall(text) if not (ROOT / path).exists()]
    linked = [path for path in _LINK.findall(text) if not (page.parent / path).exists()]
    assert named == []
    assert linked == []


def test_a_name_and_a_link_are_found():
    assert _MENTION.findall("`ir/no.py` in `ir/`, `a.py`") == ["ir/no.py"]
    assert _LINK.findall("[a](b.md#c), [d](scheme:rest), [e](f.png)") == ["b.md", "f.png"]
