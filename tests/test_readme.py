"""The README tells the truth about names, defaults and files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_loopblock.config import option_help
from otel_loopblock.emit import attributes
from tests.emit.test_metrics import EXPECTED

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def option_rows():
    for name, _, default, text in option_help():
        shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default else "none"
        yield f"| `{name}` | {shown} | {text} |"


@pytest.mark.parametrize("row", list(option_rows()))
def test_every_option_is_listed_with_its_default_and_meaning(row):
    assert row in README.splitlines()


def test_no_option_is_listed_that_does_not_exist():
    table = README.partition("| option | default |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)

    assert listed == [name for name, *_ in option_help()]


def test_every_metric_and_attribute_is_listed():
    names = [
        value for value in vars(attributes).values() if isinstance(value, str) and "event_loop." in value
    ]

    assert len(names) > 10
    for name in [*names, *EXPECTED]:
        assert f"`{name}`" in README, name


def test_every_link_leads_to_a_file():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]

    assert links
    for link in links:
        assert (ROOT / link).exists(), link
