"""What reports are made of: escaping, figures, bars, tables, pictures, and the choice of episodes to draw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from eval.report.page import Frame, _environment, picture, render, tables_page
from eval.report.task import Group, groups_of
from eval.tables.table import Table
from tests.eval.report.html_page import Page

HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; \udce9\x1b[31m\u202e"


def part(name: str, *arguments: Any, **options: Any) -> str:
    """A macro of parts.html, called."""
    return str(getattr(_environment().get_template("parts.html").module, name)(*arguments, **options))


# Escaping


@pytest.mark.parametrize("value", [HOSTILE, "</style><script>", "a\nb", "", "\x00\x7f", "'\"<>&", "{{ 7 * 7 }}"])
def test_text_is_escaped_wherever_it_stands(value: str) -> None:
    """In a title, a heading, an attribute, a table's head, cell and note; in a config's key, value and JSON."""
    plain = Table("title", ("name", "value"), (("row", "1"),), ("note",))
    hostile = Table(value, (value, value), ((value, value),), (value,))
    page, expected = (Page(tables_page(one.title, one.title, [one])) for one in (hostile, plain))
    assert [name for name, _ in page.tags] == [name for name, _ in expected.tags]
    assert [list(one) for _, one in page.tags] == [list(one) for _, one in expected.tags]
    made = part("made", value, {value: value, "list": [value], "nested": {value: value}}, value)
    assert {name for name, _ in Page(made).tags} <= set("section h2 p pre table tbody tr th td details summary".split())
    for text in (tables_page(value, value, [hostile]).split("<script>")[0], made):
        text.encode("utf-8")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_what_a_template_lacks_is_an_error() -> None:
    with pytest.raises(LookupError, match="'sections' is undefined"):
        render("tables.html", title="t", subtitle="")


# Which episodes are drawn


def choose(ious: Sequence[float], count: int, seed: int = 0) -> list[Group]:
    return groups_of(ious, [f"q{place % 40}" for place in range(len(ious))], count, "By IoU.", seed)


def test_the_worst_the_best_and_some_at_random() -> None:
    scores = [*(((37 * place) % 101) / 101 for place in range(100)), float("nan")]
    random, worst, best = choose(scores, 5)
    assert [len(group.places) for group in (random, worst, best)] == [5, 5, 5]
    for group, ranked in ((worst, sorted), (best, lambda ious: sorted(ious, reverse=True))):
        ious = [scores[place] for place in group.places]
        assert ious == ranked(ious)
        assert len({place % 40 for place in group.places}) == 5
    assert min(scores[:100]) == scores[worst.places[0]]
    assert max(scores[:100]) == scores[best.places[0]]
    assert choose(scores, 5) == choose(scores, 5)
    assert choose(scores, 5, seed=1)[0].places != random.places


def test_few_episodes_are_all_drawn_once() -> None:
    (group,) = choose([0.5, float("nan"), 0.1, 0.9], 2)
    assert group.places == (2, 0, 3, 1)
    assert choose([0.5], 0) == choose([], 0) == []


# The parts


def test_parts_that_have_no_value_say_so() -> None:
    assert "-<small>%" in part("tile", "IoU", None)
    assert "interval" not in part("tile", "IoU", 0.5)
    assert "99 % interval 40.0–60.0" in part("tile", "IoU", 0.5, [0.4, 0.6], level=0.99)
    marks = {"x": {"a": 0.2}, "y": {"a": None, "b": 0.5}}
    page = Page(part("bars", [("a", None), ("b", 2.0)], "IoU", "z", marks))
    assert [[" ".join(cell.split()) for cell in row] for row in page.rows] == [
        ["a 0", "", "-", ""],
        ["b 0", "", "200.0", ""],
    ]
    drawn = [one["class"] for name, one in page.tags if name == "span" and "left" in str(one.get("style"))]
    assert drawn == ["mark m0", "mark m1"]
    assert part("histogram", [float("nan")], "IoU").count("<li") == 20


def test_a_histogram_counts_every_value() -> None:
    made = part("histogram", [0.0, 0.04, 0.5, 1.0, float("nan")], "IoU")
    counts = [int(one) for one in re.findall(r" %: (\d+)</span>", made)]
    assert counts == [2, *[0] * 9, 1, *[0] * 8, 1]
    assert "95 to 100 %: 1" in made


def test_a_share_s_cell_has_the_exact_value_and_a_bar() -> None:
    page = Page(f"<table><tr>{part('share_cell', 0.0123456789)}{part('share_cell', float('nan'))}</tr></table>")
    assert page.rows == [["1.2", "-"]]
    assert page.all("td", "data-v") == ["0.0123457"]
    assert page.all("td", "style") == ["--s:1.2%"]


def test_pictures_shrink_to_the_side_and_the_limit() -> None:
    def size(image: Any, side: int, limit: int | None = None) -> tuple[int, int]:
        drawn = picture(image, Frame(side, limit))
        return drawn.width, drawn.height

    noise = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    assert size(noise, 200) == (200, 100)
    assert size(noise, 4000) == (600, 300)
    assert len(picture(noise, Frame(600, 20_000)).uri) <= 20_000
    assert size(noise[:1, :1], 200, limit=1) == (1, 1)


def test_a_page_without_anything_is_a_page() -> None:
    page = Page(tables_page("<t>", "", [Table("A", (), ())]))
    assert "<t>" in page.text
    assert page.all("a", "href") == ["#content", "#table-0"]
