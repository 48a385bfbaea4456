"""What one of two ranks does in tests/train_embed/run/test_distributed.py; run by torchrun: ranks.py OUT_FOLDER."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.train_embed.batches import DIM, pictures, tiny_embedder
from train_embed.config.loss_schema import LossConfig
from train_embed.losses.metric import make_loss
from train_embed.mining import MiningOptions, mining_loss, mining_tuples
from train_embed.mining.gradcam import PairClassifier, gradcam_mining_loss, pair_bce_loss
from train_embed.run import distributed

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 1, 2, 0, 2, 4, 4])
LOSSES = ["contrastive", "triplet", "quadruplet", "multi-similarity", "proxy-anchor", "normalized-softmax"]
GAMMA = 0.3


def loss_module(name: str) -> nn.Module:
    """The loss, its proxies the same on every rank."""
    torch.manual_seed(1)
    return make_loss(LossConfig.model_validate({"name": name}), classes=5, dim=DIM).double()


def step(name: str, part: slice, ranks: int, shards: int) -> dict[str, Tensor]:
    """Loss and gradients of one training step on part of the batch, with mining and the baseline."""
    embedder, loss = tiny_embedder(), loss_module(name)
    torch.manual_seed(2)
    judge = PairClassifier(DIM, hidden=4).double()
    modules: list[nn.Module] = [embedder, loss, judge]
    trained = [m if not [*m.parameters()] else DistributedDataParallel(m) for m in modules] if ranks > 1 else modules
    images, labels = pictures(len(LABELS))[part], LABELS[part]
    emb = trained[0](images)
    f, gathered = distributed.gather_with_gradient(emb.vector, labels)
    metric = trained[1](f, gathered) + 0.1 * pair_bce_loss(trained[2], f, gathered)
    tuples = mining_tuples(labels, "triplet", 0, 0, shards)
    mined = mining_loss(embedder, images, emb, tuples, MiningOptions())
    mined = mined + gradcam_mining_loss(embedder, judge, images, emb, tuples, MiningOptions())
    (metric + GAMMA * mined).backward()
    result = {"metric": metric.detach(), "mined": torch.tensor(distributed.reduce_mean(mined.detach()))}
    for m, module in enumerate(modules):
        result |= {f"{m}.{key}": p.grad for key, p in module.named_parameters() if p.grad is not None}
    return result


def uneven(part: slice) -> dict[str, Tensor]:
    """A plain function of unequal shares, without DDP: each rank's own gradient, divided by the ranks."""
    whole = torch.arange(10, dtype=torch.float64).reshape(5, 2)
    own = whole[part].clone().requires_grad_()
    f, labels = distributed.gather_with_gradient(own, torch.arange(5)[part])
    (f.pow(3) * (labels[:, None] + 1)).sum().backward()
    assert own.grad is not None
    return {"f": f.detach(), "labels": labels, "gradient": own.grad / distributed.world_size()}


def main(out: Path) -> None:
    """Both ranks' results, a file each."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, half = distributed.rank(), len(LABELS) // 2
    part = slice(0, half) if rank == 0 else slice(half, None)
    results = {name: step(name, part, ranks=2, shards=1) for name in LOSSES}
    results["uneven"] = uneven(slice(0, 4) if rank == 0 else slice(4, 5))
    results["none"] = uneven(slice(0, 0) if rank == 0 else slice(0, 5))
    results["helpers"] = {
        "world": torch.tensor([distributed.world_size(), rank, distributed.local_rank(), distributed.is_main()]),
        "any": torch.tensor([distributed.any_rank(rank == 1), distributed.any_rank(False)]),
        "mean": torch.tensor([distributed.reduce_mean(rank), distributed.reduce_mean(rank, 1 + 2 * rank)]),
        "nan": torch.tensor([distributed.reduce_mean(float("nan") if rank else 1.0), distributed.reduce_mean(1, 0)]),
    }
    distributed.barrier()
    torch.save(results, out / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
