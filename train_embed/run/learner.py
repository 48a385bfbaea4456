"""What learns in a run, and one step of it: network, losses, optimiser, moving average. No files, no loop."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fewshot_seg.errors import FewShotError
from fewshot_seg.network.devices import check_precision
from fewshot_seg.network.embedder import Embedder
from train_embed.config.run_config import RunConfig
from train_embed.data.loading import Batch
from train_embed.run.distributed import any_rank, rank, world_size
from train_embed.run.model import build_model, finite, fix_shifts, keep_induced, refine_parts, train_mode
from train_embed.run.objective import Objective, step_seed
from train_embed.run.optim import build_optimizer, rate_factor, set_rates
from train_embed.run.state import optimizer_tensors, part, restore_module, restore_optimizer


class Diverged(FewShotError):  # noqa: N818 - it says what happened
    """A loss or gradient that is no number any more."""


class Learner:
    """The parts of a run that change, and how a batch changes them.

    Attributes:
        embedder: what is trained, on `device`, with `classes` classes.
        average: its moving average, or None.
    """

    def __init__(self, config: RunConfig, classes: int, device: torch.device) -> None:
        self.config, self.device = config, device
        self.frozen_trunk = config.optimizer.trunk_lr == 0
        precision = check_precision(config.run.precision, device)
        model = build_model(config.model, freeze_trunk=self.frozen_trunk, precision=precision)
        self.embedder = model.to(device)
        if config.identity.weight:
            fix_shifts(model.head)
        self.objective = Objective(config, classes, model).to(device)
        self.optimizer = build_optimizer(config.optimizer, self.embedder, [self.objective])
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.average = MovingAverage(self.embedder, config.optimizer.ema) if config.optimizer.ema else None
        self._shared = [*self.embedder.parameters(), *self.objective.parameters()]
        if world_size() > 1:  # equal seeds should do, but not if the ranks' machines differ
            for tensor in (*self._shared, *self.embedder.buffers()):
                dist.broadcast(tensor.detach(), 0)

    @property
    def result(self) -> Embedder:
        """What is validated and saved, in eval mode."""
        return (self.average.embedder if self.average else self.embedder).eval()

    def start(self, epoch: int) -> None:
        """Puts the network into the mode that it trains in, in this epoch."""
        train_mode(self.embedder, self.config.model, freeze_trunk=self.frozen_trunk)
        refine_parts(self.embedder, self.config.model, epoch)

    def accumulate(self, batch: Batch, count: int, progress: float, share: float) -> dict[str, float]:
        """Adds the gradient of a batch's loss times `share`; returns the loss's parts.

        Args:
            batch: this rank's part.
            count: batches of the run before this one.
            progress: epochs done, with fractions.
            share: 1 divided by the number of batches in the step.

        Raises:
            Diverged: a loss that is NaN or infinite, on any rank.
        """
        torch.manual_seed(step_seed(self.config.run.seed, count, rank()))
        images = batch.images.to(self.device, non_blocking=True)
        losses = self.objective(self.embedder, images, batch.labels.to(self.device), count, progress)
        if any_rank(not bool(torch.isfinite(losses.total.detach()))):
            raise Diverged(f"the loss became {float(losses.total.detach())}")
        self.scaler.scale(losses.total * share).backward()
        return {name: float(value) for name, value in losses.parts.items()}

    def step(self, number: int, progress: float) -> None:
        """One step of the optimiser with what `accumulate` gathered.

        `number` are the steps done before, `progress` the epochs, with fractions.

        Raises:
            Diverged: a gradient that is NaN or infinite (in fp16 the scaler skips such a step instead).
        """
        set_rates(self.optimizer, rate_factor(self.config.optimizer, progress, self.config.run.epochs))
        self._average_gradients()  # before the scaler looks for overflows, so that all ranks skip a step or none
        keep_induced(self.embedder, self._shared, self.config.model, int(progress))
        self.scaler.unscale_(self.optimizer)
        trained = [p for p in self._shared if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.config.optimizer.clip or float("inf"))
        if not self.scaler.is_enabled() and not bool(torch.isfinite(norm)):
            raise Diverged(f"the gradient's norm became {float(norm)}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.embedder, number)

    def _average_gradients(self) -> None:
        """The mean over ranks, as DDP takes it, in one message; running statistics are rank 0's.

        Done by hand: a step with mining runs the network twice before it goes backward, and in a step without
        tuples a parameter may have no gradient. DDP's hooks want neither.
        """
        if world_size() == 1:
            return
        gradients = []
        for p in self._shared:
            if p.requires_grad:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                gradients.append(p.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]) / world_size()
        dist.all_reduce(flat)
        for gradient, mean in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        for buffer in self.embedder.buffers():
            dist.broadcast(buffer, 0)

    def state(self) -> dict[str, Tensor]:
        """All that changes, by name. Diverged: a weight isn't finite; such a state must not replace a good one."""
        if not finite(self.embedder) or not finite(self.objective):
            raise Diverged("a weight became NaN or infinite")
        parts: dict[str, dict[str, Tensor]] = {
            "embedder/": self.embedder.state_dict(),
            "objective/": self.objective.state_dict(),
            "optimizer/": optimizer_tensors(self.optimizer),
            "average/": self.average.embedder.state_dict() if self.average else {},
        }
        return {prefix + name: tensor for prefix, tensors in parts.items() for name, tensor in tensors.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `state` gave. CheckpointError: it doesn't fit."""
        restore_module(self.embedder, tensors, "embedder/")
        restore_module(self.objective, tensors, "objective/")
        if self.average is not None:
            restore_module(self.average.embedder, tensors, "average/")
        restore_optimizer(self.optimizer, part(tensors, "optimizer/"))


class MovingAverage:
    """``average = decay * average + (1 - decay) * weights`` after every step, buffers copied as they are.

    Early on the decay is ``(1 + n) / (10 + n)`` at step n where that is smaller, so that the weights that the run
    started from, and a random neck among them, are soon forgotten.

    Args:
        embedder: copied; the copy, in eval mode and frozen, is `embedder` of this object.
        decay: in (0, 1).
    """

    def __init__(self, embedder: Embedder, decay: float) -> None:
        self.embedder = copy.deepcopy(embedder).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, embedder: Embedder, step: int) -> None:
        """Takes the weights after step `step` (from 0) in."""
        decay = min(self.decay, (1 + step) / (10 + step))
        new = dict(embedder.named_parameters())
        for name, average in self.embedder.named_parameters():
            average.lerp_(new[name].detach().to(average.dtype), 1 - decay)
        buffers: dict[str, Tensor] = dict(embedder.named_buffers())
        for name, buffer in self.embedder.named_buffers():
            buffer.copy_(buffers[name])
