"""Options as JSON values and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from fewshot_seg.cutting.refine import GrabCutOptions
from fewshot_seg.cutting.seeds import SeedOptions
from fewshot_seg.errors import ConfigError
from fewshot_seg.segmentation.options import SegmenterOptions


def test_options_come_back_from_a_dict() -> None:
    parts = {"seeds": SeedOptions(background=0.2), "grabcut": GrabCutOptions(iterations=2)}
    options = SegmenterOptions(weighting="paper", **parts)
    assert SegmenterOptions.from_dict(asdict(options)) == options
    assert SegmenterOptions.from_dict({"seeds": {"background": 0.2}}).seeds == parts["seeds"]


@pytest.mark.parametrize(
    "values",
    [{"colour": 1}, {"seeds": {"colour": 1}}, {"seeds": 3}, {"rejection": "much"}, {"seeds": {"background": "x"}}],
)
def test_a_dict_of_something_else_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SegmenterOptions.from_dict(values)
