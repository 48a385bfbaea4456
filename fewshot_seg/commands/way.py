"""The options by which a user says how objects are to be found and cut."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer

EXAMPLES = """
fewshot-seg segment photos/ --support cup=cup.jpg --joint --quality best --out results

fewshot-seg segment photos/ --support cup=cup.jpg --not jug.jpg --not empty-table.jpg --out results

fewshot-seg segment photos/ --support cup=table.jpg --candidates --out results

fewshot-seg segment photos/ --support cup=table.jpg --mean 2 --out results
"""

Quality = Literal["fast", "default", "best"]
Meaning = Literal["auto", "kind", "thing"]

_PANEL = "How objects are found"


def _option(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(*flag.split(), help=text, rich_help_panel=_PANEL, **more)


_QUALITY = "fast: no clean edges; best: what was found is looked at a second time, from close by."
_MEANING = (
    "thing: the very thing that the example shows; kind: things of its kind; auto: the thing where the example's "
    "scene comes again, as in a video, else the kind."
)
_SEQUENCE = (
    "The queries are frames of one scene, in the order given, or one video: what was found helps in the next "
    "frame. Writes overlay.mp4, too."
)
_INSTANCES = "Count the things of each class, and give each its own box, score and outline in results.json."
_JOINT = "All queries together: the surest of them become further examples for the others. Takes twice the time."
_NOT = "An image, or a folder of them, of what is not meant: what it shows gets no mask. Repeat it for more."
_LOCATE = (
    "matching: by a trained matcher; correspondence: without training; attention: similarity attention alone; "
    "auto: matching where there is a matcher for the weights."
)
_PRESENCE = (
    "An object whose score is below this is not there, and its mask is empty. The default is measured; it needs a "
    "matcher, for only its score is a probability."
)
_REFINE = (
    "guided: clean edges; grabcut: the paper's; random-walk: the alternative; sam: Segment Anything, with "
    "--sam-weights; none: faster; or another package's (docs/plugins.md). By default what --quality says."
)
_REFINE_WEIGHTS = "A file or folder for the refiner: for sam a snapshot of facebook/sam-vit-base or its like."
_ALPHA = "Write STEM_cutout.png, too: what was found, with soft edges, transparent around it."
_CANDIDATES = (
    "Write a picture of what each example may mean, its things numbered (candidates.png), and stop; --mean says then "
    "which."
)
_MEAN = "Which of an example's things is meant, by its number in candidates.png; of NAME the k-th for its k-th example."
_MATCHER = "auto, none, a name, or a file from 'train-embed matcher'."


def _known_refiner(name: str | None) -> str | None:
    if name is not None:
        from fewshot_seg.cutting.refiners import refiner_names

        if name not in (names := refiner_names()):
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}.")
    return name


@dataclass(frozen=True)
class Way:
    """How objects are found and cut, as `SegmenterOptions` has it; what is None is as the quality has it."""

    quality: Annotated[Quality, _option("--quality -q", _QUALITY)] = "default"
    meaning: Annotated[Meaning, _option("--meaning", _MEANING)] = "auto"
    sequence: Annotated[bool, _option("--sequence", _SEQUENCE)] = False
    instances: Annotated[bool, _option("--instances/--no-instances", _INSTANCES)] = True
    alpha: Annotated[bool, _option("--alpha", _ALPHA)] = False
    joint: Annotated[bool, _option("--joint", _JOINT)] = False
    candidates: Annotated[bool, _option("--candidates", _CANDIDATES)] = False
    mean: Annotated[list[str] | None, _option("--mean", _MEAN, metavar="[NAME=]NUMBER")] = None
    unlike: Annotated[list[str] | None, _option("--not", _NOT, metavar="PATH")] = None
    locate_by: Annotated[
        Literal["auto", "matching", "correspondence", "attention"], _option("--locate-by", _LOCATE)
    ] = "auto"
    matcher: Annotated[str, _option("--matcher", _MATCHER, metavar="NAME")] = "auto"
    presence: Annotated[float | None, _option("--presence", _PRESENCE, min=0.0, max=1.0)] = None
    always: Annotated[bool, _option("--always", "The objects are there, whatever their scores.")] = False
    refine: Annotated[str | None, _option("--refine", _REFINE, metavar="NAME", callback=_known_refiner)] = None
    refine_weights: Annotated[
        str | None, _option("--refine-weights --sam-weights", _REFINE_WEIGHTS, metavar="PATH")
    ] = None

    def changes(self) -> dict[str, Any]:
        """The options of a `SegmenterOptions` that were chosen, but for the quality."""
        chosen = {name: value for name, value in asdict(self).items() if value is not None}
        for other in ("quality", "joint", "sequence", "instances", "alpha", "candidates", "mean", "unlike"):
            chosen.pop(other, None)
        return chosen
