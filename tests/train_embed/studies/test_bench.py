"""What a step costs: every variant is really another step, timed in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewshot_seg.errors import ConfigError
from tests.train_embed.tiny import settings
from train_embed.studies.bench import VARIANTS, step_costs


def test_every_variant_is_compared_with_the_first(tmp_path: Path) -> None:
    costs = step_costs(settings(tmp_path), rounds=3)
    assert [cost.variant for cost in costs] == list(VARIANTS)
    assert costs[0].ratio == 1
    assert all(cost.seconds > 0 and cost.ratio > 0 for cost in costs)
    peaks = [cost.memory for cost in costs]
    assert peaks == sorted(peaks)
    assert peaks[0] > 0


def test_a_configuration_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampler\.k"):
        step_costs(settings(tmp_path), ["sampler.k=1"])
