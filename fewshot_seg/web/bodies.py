"""What clients send as JSON, checked; and what they get, for the interface's own description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-(2.0**20), le=2.0**20)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """JSON with nothing in it that nobody reads."""

    model_config = ConfigDict(extra="forbid")


class Stroke(Body):
    """A brush's or eraser's way; pixels."""

    foreground: bool
    radius: Annotated[float, Field(ge=0.5, le=4096)]
    points: Annotated[list[tuple[Finite, Finite]], Field(min_length=1, max_length=10_000)]


class Hint(Body):
    """What is marked in an example: one of these."""

    box: tuple[Finite, Finite, Finite, Finite] | None = None
    points: Annotated[list[tuple[Finite, Finite, bool]], Field(min_length=1, max_length=1000)] | None = None
    strokes: Annotated[list[Stroke], Field(min_length=1, max_length=1000)] | None = None


def given(hint: Hint | None) -> dict[str, Any] | None:
    """A hint as it is kept; None where nothing is marked."""
    return None if hint is None else hint.model_dump(exclude_none=True) or None


class Point(Body):
    """A click on the object of a class, or on what isn't."""

    class_name: Name = Field(alias="class")
    point: tuple[Finite, Finite]
    foreground: bool


class Drawn(Body):
    """A stroke of a class."""

    class_name: Name = Field(alias="class")
    stroke: Stroke


class Edits(Body):
    """All corrections of an image, in their order."""

    edits: Annotated[list[Point | Drawn], Field(max_length=2000)]

    def given(self) -> list[dict[str, Any]]:
        """As they are kept."""
        return [edit.model_dump(by_alias=True) for edit in self.edits]


class NewExample(Body):
    """An image that shows a class."""

    image: int
    class_name: Name = Field(alias="class")
    hint: Hint | None = None


class ChangedExample(Body):
    """The same, for an example that is there."""

    class_name: Name = Field(alias="class")
    hint: Hint | None = None


class ClassName(Body):
    """A class's name."""

    name: Name


class Sliders(Body):
    """Settings; what is left out stays."""

    threshold: Annotated[float, Field(ge=0.05, le=0.95)] | None = None
    presence: Annotated[float, Field(ge=0, le=1)] | None = None
    meaning: Literal["auto", "kind", "thing"] = "auto"


class RunBody(Body):
    """Which images; None: all queries that aren't accepted."""

    images: list[int] | None = None


class Accepted(Body):
    """Whether an image's masks are accepted."""

    accepted: bool


class NewIndex(Body):
    """An index to build of a folder."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$")]
    folder: int


class Health(BaseModel):
    """That the server runs."""

    status: Literal["ok"] = "ok"
    version: str
    weights: str


class FoundObject(BaseModel):
    """What was found of a class in an image; results.json has the same."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    class_name: str = Field(alias="class")
    score: float
    area: int
    bbox: list[int]
    segmentation: dict[str, Any]


class SegmentedImage(BaseModel):
    """A query's answer."""

    name: str
    size: tuple[int, int] | None
    error: str | None
    objects: list[FoundObject]


class Segmented(BaseModel):
    """All queries' answers."""

    classes: list[str]
    images: list[SegmentedImage]
