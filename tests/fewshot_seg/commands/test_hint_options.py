"""What the command line takes of what users know: of examples and of queries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_seg.commands.hint_options import QueryHints
from fewshot_seg.commands.hints import parse_query_hints
from fewshot_seg.commands.supports import parse_supports
from fewshot_seg.errors import ConfigError, DataError
from tests.fewshot_seg.command_line import fewshot, results_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, which is also where the paths are looked up."""
    for name in ("a.png", "b.png", "s.png", "x/1.png", "y/1.png", "y/lr=1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_points_and_scribbles_belong_to_the_shots_in_order(folder: Path) -> None:
    shots = parse_supports(
        ["cat=a.png", "cat=b.png", "dog=b.png"],
        boxes=["cat=0,0,9,9", "cat=-"],
        points=["cat=-", "cat=3,4:5.5,6,bg:7,8,fg", "dog=1,2"],
        scribbles=["cat=s.png", "cat=-"],
    )
    first, second = (shot.known for shot in shots["cat"])
    assert first.kinds == ("box", "scribble")
    assert first.files == (Path("s.png"),)
    assert second.points == ((3, 4, True), (5.5, 6, False), (7, 8, True))
    assert second.kinds == ("points",)
    assert shots["dog"][0].known.points == ((1, 2, True),)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"points": ["cat=3"]}, "'3' is no point"),
        ({"points": ["cat=3,4,yes"]}, "is no point; write"),
        ({"points": ["cat=3,4:"]}, "'' is no point"),
        ({"points": ["cat=nan,4"]}, "is no point"),
        ({"points": ["cat=3,inf"]}, "is no point"),
        ({"points": ["kat=3,4"]}, "did you mean 'cat'"),
        ({"points": ["cat=3,4", "cat=3,4"]}, r"1 support\(s\) but 2 --support-points"),
        ({"masks": ["cat=s.png"], "points": ["cat=3,4"]}, "both a mask and a points|both a mask and"),
        ({"masks": ["cat=s.png"], "scribbles": ["cat=s.png"]}, "both a mask and a scribble"),
    ],
)
def test_mistakes_in_what_is_known_of_examples(folder: Path, given: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        parse_supports(["cat=a.png"], **given)
    assert "\n" not in str(error.value)


def test_the_same_file_is_two_shots_where_points_tell_them_apart(folder: Path) -> None:
    assert len(parse_supports(["cat=a.png", "dog=a.png"], points=["cat=1,2", "dog=3,4"])) == 2
    with pytest.raises(ConfigError, match="for 'cat' and for 'dog'"):
        parse_supports(["cat=a.png", "dog=a.png"], points=["cat=1,2", "dog=1,2"])


def queries(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def test_one_query_and_one_class_need_no_names(folder: Path) -> None:
    hints = QueryHints(boxes=["1,2,3,4"], points=["5,6"], scribbles=["s.png"])
    ((path, known),) = parse_query_hints(hints, queries("a.png"), ["cat"]).items()
    assert path == str((folder / "a.png").resolve())
    assert known["cat"].box == (1, 2, 3, 4)
    assert known["cat"].points == ((5, 6, True),)
    assert known["cat"].scribble == Path("s.png")


def test_queries_and_classes_by_name(folder: Path) -> None:
    asked = queries("x/1.png", "y/1.png", "y/lr=1.png", "a.png")
    hints = QueryHints(
        boxes=["x/1.png=cat=1,2,3,4", "./y/1.png=dog=1,2,3,4", "y/lr=1.png=cat=5,6,7,8", "a.png=dog=9,9,9,9"],
        masks=["lr=1.png=dog=y/lr=1.png"],
    )
    known = parse_query_hints(hints, asked, ["cat", "dog"])
    by_name = {str(Path(path).relative_to(folder.resolve())): value for path, value in known.items()}
    assert by_name["x/1.png"]["cat"].box == (1, 2, 3, 4)
    assert by_name["y/1.png"]["dog"].box == (1, 2, 3, 4)
    assert by_name["y/lr=1.png"]["cat"].box == (5, 6, 7, 8)
    assert by_name["y/lr=1.png"]["dog"].mask == Path("y/lr=1.png")
    assert by_name["a.png"]["dog"].kinds == ("box",)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("boxes", "cat=1,2,3,4", "names no query: write PATH="),
        ("boxes", "1.png=cat=1,2,3,4", "names no query"),
        ("boxes", "a.png=1,2,3,4", "names no class: write NAME=..., one of cat, dog"),
        ("boxes", "a.png=kat=1,2,3,4", "names no class"),
        ("boxes", "a.png=cat=1,2,3", "four numbers"),
        ("boxes", "a.png=cat=1,2,0,4", "above 0"),
        ("points", "a.png=cat=1;2", "no point"),
        ("scribbles", "a.png=cat=x", "one file|images; name one"),
    ],
)
def test_mistakes_in_what_is_known_of_queries(folder: Path, kind: str, text: str, message: str) -> None:
    (folder / "x" / "2.png").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(ConfigError, match=message) as error:
        parse_query_hints(QueryHints(**{kind: [text]}), queries("x/1.png", "y/1.png", "a.png"), ["cat", "dog"])
    assert "\n" not in str(error.value)


def test_the_same_thing_twice_and_files_that_are_not_there(folder: Path) -> None:
    asked = queries("a.png")
    with pytest.raises(ConfigError, match="given twice"):
        parse_query_hints(QueryHints(boxes=["1,2,3,4", "cat=1,2,3,4"]), asked, ["cat"])
    with pytest.raises(ConfigError, match="the query has both a mask and a box"):
        parse_query_hints(QueryHints(masks=["s.png"], boxes=["1,2,3,4"]), asked, ["cat"])
    with pytest.raises(DataError, match=r"nowhere\.png"):
        parse_query_hints(QueryHints(masks=["nowhere.png"]), asked, ["cat"])


def test_hints_reach_the_masks(photos: Path, tmp_path: Path) -> None:
    common = ("-s", f"cup={photos / 'cat face.png'}", "-o", tmp_path, "--refine", "none")
    box = (60, 40, 180, 150)
    given = (
        "--query-box",
        ",".join(map(str, box)),
        "--query-points",
        "150,120:70,50,bg",
        "--support-points",
        "cup=9,9",
    )
    result = fewshot("segment", photos / "cat.png", *common, *given)
    assert result.exit_code == 0, result.stderr
    mask = np.asarray(Image.open(tmp_path / "cat_mask.png"))
    assert mask[120, 150] == 1
    assert mask[50, 70] == 0
    outside = np.ones(mask.shape, bool)
    outside[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = False
    assert not mask[outside].any()


def test_a_bad_hint_is_its_querys_error(photos: Path, tmp_path: Path) -> None:
    asked = (photos / "cat.png", photos / "cup.jpg")
    given = ("--query-points", f"{photos / 'cup.jpg'}=5000,5")
    result = fewshot("segment", *asked, "-s", photos / "cat face.png", "-o", tmp_path, "--refine", "none", *given)
    assert result.exit_code == 1
    errors = [entry["error"] for entry in results_of(tmp_path)["images"]]
    assert errors[0] is None
    assert "lies outside the image" in errors[1]


def test_no_output_overwrites_a_scribble(photos: Path, tmp_path: Path) -> None:
    scribble = tmp_path / "cat_mask.png"
    Image.new("L", (9, 9)).save(scribble)
    asked = ("segment", photos / "cat.png", "-s", photos / "cat face.png", "-o", tmp_path)
    result = fewshot(*asked, "--query-scribble", scribble)
    assert result.exit_code == 1
    assert "would overwrite" in result.stderr
