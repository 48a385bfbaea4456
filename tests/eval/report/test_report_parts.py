"""What reports are made of: markup, figures, bars, tables, pictures, and the choice of episodes to draw."""

from __future__ import annotations

import re

import numpy as np
import pytest

from eval.episodes.scoring import EpisodeScore
from eval.report.examples import choose
from eval.report.html import Html, element, escape, join
from eval.report.page import Section, data_uri, document
from eval.report.parts import Bar, Cell, Column, bars, figure_tile, histogram, table
from tests.eval.report.html_page import Page

HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; \udce9\x1b[31m\u202e"

# Markup


@pytest.mark.parametrize("value", [HOSTILE, "</style><script>", "a\nb", "", "\x00\x7f", "'\"<>&"])
def test_text_is_escaped_wherever_it_stands(value: str) -> None:
    made = element("p", value, title=value, class_=value)
    made.encode("utf-8")
    assert re.fullmatch(r'<p title="[^"<>]*" class="[^"<>]*">[^<>]*</p>', made, re.DOTALL)
    parsed = Page(made)
    assert [name for name, _ in parsed.tags] == ["p"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", made)


def test_markup_is_made_by_its_own_functions_alone() -> None:
    assert element("p", element("b", "1 < 2"), None, 3) == "<p><b>1 &lt; 2</b>3</p>"
    assert isinstance(element("p"), Html)
    assert element("img", alt="", hidden=True, src=None, loading=False) == '<img alt="" hidden>'
    assert element("th", data_v=1, class_="a") == '<th data-v="1" class="a"></th>'
    assert join(["<", Html("<b>")], "&") == "&lt;&amp;<b>"
    assert escape(Html("<b>")) == "<b>"


# Which episodes are drawn


def scores_of(*ious: float) -> list[EpisodeScore]:
    return [EpisodeScore(place, f"q{place % 40}", {}, iou) for place, iou in enumerate(ious)]


def test_the_worst_the_best_and_some_at_random() -> None:
    scores = scores_of(*(((37 * place) % 101) / 101 for place in range(100)), float("nan"))
    random, worst, best = choose(scores, 5)
    assert [len(group.places) for group in (random, worst, best)] == [5, 5, 5]
    for group, ranked in ((worst, sorted), (best, lambda ious: sorted(ious, reverse=True))):
        ious = [scores[place].miou for place in group.places]
        assert ious == ranked(ious)
        assert len({scores[place].query for place in group.places}) == 5
    assert min(one.miou for one in scores[:100]) == scores[worst.places[0]].miou
    assert max(one.miou for one in scores[:100]) == scores[best.places[0]].miou
    assert choose(scores, 5) == choose(scores, 5)
    assert choose(scores, 5, seed=1)[0].places != random.places


def test_few_episodes_are_all_drawn_once() -> None:
    (group,) = choose(scores_of(0.5, float("nan"), 0.1, 0.9), 2)
    assert group.places == (2, 0, 3, 1)
    assert choose(scores_of(0.5), 0) == choose([], 0) == []


# The parts


def test_parts_that_have_no_value_say_so() -> None:
    assert "-<small>%" in figure_tile("IoU", None)
    assert "interval" not in figure_tile("IoU", 0.5)
    assert "99 % interval 40.0–60.0" in figure_tile("IoU", 0.5, [0.4, 0.6], level=0.99)
    rows = Page(bars([Bar("a", None, None, {"x": 0.2, "y": None}), Bar("b", 2.0)], what="IoU", own="z")).rows
    assert rows == [["a ", "", "-", ""], ["b ", "", "200.0", ""]]
    empty = histogram([float("nan")], what="IoU")
    assert empty.count("<li") == 20


def test_a_histogram_counts_every_value() -> None:
    made = histogram([0.0, 0.04, 0.5, 1.0, float("nan")], what="IoU", bins=10)
    counts = [int(one) for one in re.findall(r" %: (\d+)</span>", made)]
    assert counts == [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]


def test_a_table_says_what_it_is_sorted_by() -> None:
    columns = [Column("IoU", number=True), Column("name")]
    made = table(columns, [[Cell("1.0", 0.01, 0.01), Cell("<x>")]], anchor="t", what="all", sortable=True, sorted_by=0)
    page = Page(made)
    assert page.rows == [["IoU", "name"], ["1.0", "<x>"]]
    assert page.all("th", "aria-sort") == ["ascending"]
    assert page.all("td", "style") == ["--s:1.0%"]


def test_pictures_shrink_to_the_side_and_the_limit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    assert data_uri(noise, 200)[1:] == (200, 100)
    assert data_uri(noise, 4000)[1:] == (600, 300)
    assert len(data_uri(noise, 600, limit=20_000)[0]) <= 20_000
    assert data_uri(noise[:1, :1], 200, limit=1)[1:] == (1, 1)


def test_a_page_without_anything_is_a_page() -> None:
    page = Page(document("<t>", "", [Section("a", "A", Html(""))]))
    assert "<t>" in page.text
    assert page.all("a", "href") == ["#content", "#a"]
