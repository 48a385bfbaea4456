"""What every section of a configuration is, and the types that they share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Names = Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False, min_length=1)]
Counts = Annotated[tuple[Annotated[int, Field(ge=1, strict=True)], ...], Field(strict=False)]  # a YAML list


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no conversions but of whole numbers to floats."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
