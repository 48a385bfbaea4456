"""Two ranks under torchrun give the loss and the gradients of one process with the whole batch."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from tests.conftest import ROOT
from tests.train_embed import ranks
from train_embed.run import distributed

Results = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """What the ranks wrote."""
    out = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.train_embed.ranks", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", ranks.LOSSES)
def test_loss_and_gradients_are_those_of_one_process(two_ranks: list[Results], name: str) -> None:
    expected = ranks.step(name, slice(0, None), ranks=1, shards=2)
    assert expected["metric"] > 0
    assert expected["mined"] > 0
    assert ("1.proxies" in expected) == (name in ("proxy-anchor", "normalized-softmax"))
    for results in two_ranks:
        assert results[name].keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(results[name][key], value, rtol=1e-9, atol=1e-12)
            assert value.abs().sum() > 0, key


@pytest.mark.parametrize("name", ["uneven", "none"])
def test_unequal_shares(two_ranks: list[Results], name: str) -> None:
    expected = ranks.uneven(slice(0, 5))
    for results in two_ranks:
        assert torch.equal(results[name]["f"], expected["f"])
        assert torch.equal(results[name]["labels"], expected["labels"])
    gradient = torch.cat([results[name]["gradient"] for results in two_ranks])
    torch.testing.assert_close(gradient, expected["gradient"])


def test_helpers_on_two_ranks(two_ranks: list[Results]) -> None:
    for rank, results in enumerate(two_ranks):
        helpers = results["helpers"]
        assert helpers["world"].tolist() == [2, rank, rank, 1 - rank]
        assert helpers["any"].tolist() == [True, False]
        assert helpers["mean"].tolist() == [0.5, 0.75]
        assert helpers["nan"].isnan().all()


def test_one_process_is_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    f, labels = torch.zeros(2, 3), torch.zeros(2)
    assert distributed.gather_with_gradient(f, labels) == (f, labels)
    assert (distributed.world_size(), distributed.rank(), distributed.is_main()) == (1, 0, True)
    assert distributed.any_rank(True)
    assert not distributed.any_rank(False)
    assert distributed.reduce_mean(3.0, 2) == 3
    assert math.isnan(distributed.reduce_mean(math.nan))
    distributed.barrier()
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.local_rank() == 3
    monkeypatch.setenv("LOCAL_RANK", "three")
    with pytest.raises(ConfigError, match="LOCAL_RANK must be a whole number, got 'three'"):
        distributed.local_rank()
    with pytest.raises(ShapeError, match=r"labels \(B,\)"):
        distributed.gather_with_gradient(f, labels[:1])
