"""From the last convolutional map to a unit-norm vector, and the exact gradient of that step.

With ``z = W pool(A) + b`` and a vector u held constant, the averaged gradient of equation 1,
``alpha_k = GAP(d(u.z)/dA_k)``, is ``pullback(u) * pooling_slope(A)``: no backward pass is needed.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_seg.errors import ConfigError, ShapeError

Pooling = Literal["avg", "max", "avg+max", "gem"]
Neck = Literal["linear", "bn", "linear+bn"]

GEM_START = 3.0
GEM_EPS = 1e-6
"""Activations up to this count as this in GeM, and have no gradient."""


class Head(nn.Module):
    """A head: a feature map A (B,C,h,w) to a vector. Subclasses write `project`; a closed form, `averaged_gradient`."""

    def project(self, feature_map: Tensor) -> Tensor:
        """The vector z (B,D) of A (B,C,h,w), before it is brought to unit norm."""
        raise NotImplementedError

    @property
    def has_closed_form(self) -> bool:
        """Whether `averaged_gradient` holds now."""
        return False

    def averaged_gradient(self, feature_map: Tensor, u: Tensor) -> Tensor:
        """``GAP(d(u.z)/dA)`` (B,C), the alpha of equation 1, of A (B,C,h,w) and a constant u (B,D), without autograd.

        Differentiable in A, u and the head. ConfigError where `has_closed_form` is False.
        """
        raise NotImplementedError

    def forward(self, feature_map: Tensor) -> Tensor:
        """The unit vector f = z/||z|| (B,D) of A (B,C,h,w); zeros stay zeros, for they have no direction."""
        return functional.normalize(self.project(feature_map), dim=1)


class PooledHead(Head):
    """Pooling, then an optional neck (a linear layer, batch normalisation, or both), then unit norm.

    Args:
        channels: C of the feature map.
        pooling: "avg"; "max"; "avg+max", their sum; "gem", ``mean(A^p)^(1/p)`` with a learnable p that
            starts at 3 and activations clamped at 1e-6 from below.
        neck: None, "linear" (with bias), "bn", or "linear+bn".
        dim: D, the length of the vector; None means C. Another D than C needs a linear neck.

    Raises:
        ConfigError: an unknown pooling or neck, or a `dim` that the neck can't give.
    """

    def __init__(self, channels: int, pooling: str = "avg", neck: str | None = None, dim: int | None = None) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ConfigError(f"unknown pooling {pooling!r}: choose {', '.join(get_args(Pooling))}")
        if neck is not None and neck not in get_args(Neck):
            raise ConfigError(f"unknown neck {neck!r}: choose none, {', '.join(get_args(Neck))}")
        has_linear = neck in ("linear", "linear+bn")
        dim = channels if dim is None else dim
        if dim < 1 or (dim != channels and not has_linear):
            raise ConfigError(f"a head with neck {neck} gives {channels} dimensions, not {dim}: use neck linear")
        self.channels = channels
        self.pooling = pooling
        self.neck = neck
        self.dim = dim
        self.p = nn.Parameter(torch.tensor(GEM_START)) if pooling == "gem" else None
        self.linear = nn.Linear(channels, dim) if has_linear else None
        self.bn = nn.BatchNorm1d(dim) if neck in ("bn", "linear+bn") else None

    def pool(self, feature_map: Tensor) -> Tensor:
        """The pooled vector (B,C) of A (B,C,h,w)."""
        check_map(feature_map, self.channels)
        if self.pooling == "avg":
            return feature_map.mean(dim=(2, 3))
        if self.pooling == "max":
            return feature_map.amax(dim=(2, 3))
        if self.pooling == "avg+max":
            return feature_map.mean(dim=(2, 3)) + feature_map.amax(dim=(2, 3))
        scale, ratio, p = self._gem_parts(feature_map)
        return scale[:, :, 0, 0] * ratio.pow(p).mean(dim=(2, 3)).pow(1 / p)

    def project(self, feature_map: Tensor) -> Tensor:
        """See `Head.project`: the pooled vector through the neck."""
        return self.apply_neck(self.pool(feature_map))

    def apply_neck(self, pooled: Tensor) -> Tensor:
        """The vector z (B,D) of a pooled vector (B,C)."""
        z = pooled if self.linear is None else self.linear(pooled)
        return z if self.bn is None else self.bn(z)

    @property
    def has_closed_form(self) -> bool:
        """Whether `pullback` holds now: not while a batch norm uses its batch's statistics (training)."""
        return self.bn is None or not self.bn.training

    def averaged_gradient(self, feature_map: Tensor, u: Tensor) -> Tensor:
        """See `Head.averaged_gradient`: the pullback of u times the slope of the pooling."""
        return self.pullback(u) * self.pooling_slope(feature_map)

    def pullback(self, u: Tensor) -> Tensor:
        """``W^T u`` (B,C) of u (B,D): the gradient of u.z with regard to the pooled vector.

        Batch normalisation in eval mode is a fixed scale and is folded in. Differentiable in u and the neck.
        """
        if not self.has_closed_form:
            raise ConfigError("no closed form while the head's batch norm is training: call head.eval()")
        check_vector(u, self.dim)
        if self.bn is not None:
            running_var = self.bn.running_var
            assert running_var is not None  # we never build a batch norm without running statistics
            u = u * self.bn.weight * torch.rsqrt(running_var + self.bn.eps)
        return u if self.linear is None else u @ self.linear.weight

    def pooling_slope(self, feature_map: Tensor) -> Tensor:
        """The slope d pool(A)_k / dA_k averaged over the positions, (B,C), of A (B,C,h,w).

        ``1/(hw)`` for average and for max (ties share one unit of gradient), ``2/(hw)`` for their sum; for
        GeM with pooled value g ``g^(1-p) mean(A^(p-1)) / (hw)``, clamped activations counting 0 in the mean.
        Differentiable in A.
        """
        check_map(feature_map, self.channels)
        batch, channels, h, w = feature_map.shape
        if self.pooling != "gem":
            slope = (2.0 if self.pooling == "avg+max" else 1.0) / (h * w)
            return feature_map.new_full((batch, channels), slope)
        _, ratio, p = self._gem_parts(feature_map)
        pooled_ratio = ratio.pow(p).mean(dim=(2, 3)).pow(1 / p)  # (B,C), g divided by the scale
        unclamped = (feature_map > GEM_EPS).to(ratio.dtype)
        return pooled_ratio.pow(1 - p) * (ratio.pow(p - 1) * unclamped).mean(dim=(2, 3)) / (h * w)

    def _gem_parts(self, feature_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scale (B,C,1,1), clamped map divided by it (B,C,h,w) in (0,1], and p.

        GeM is homogeneous, so dividing by the channel's largest value changes nothing but keeps A^p from
        underflowing or overflowing; for the same reason the scale may count as a constant.
        """
        assert self.p is not None
        # Not clamp(): torch versions differ in its gradient at the bound itself.
        clamped = torch.where(feature_map > GEM_EPS, feature_map, GEM_EPS)
        scale = clamped.detach().amax(dim=(2, 3), keepdim=True)
        return scale, clamped / scale, self.p


def check_map(feature_map: Tensor, channels: int) -> None:
    """ShapeError unless (B, channels, h, w)."""
    if feature_map.ndim != 4 or feature_map.shape[1] != channels:
        raise ShapeError(f"expected a feature map (B, {channels}, h, w), got {tuple(feature_map.shape)}")


def check_vector(u: Tensor, dim: int) -> None:
    """ShapeError unless (B, dim)."""
    if u.ndim != 2 or u.shape[1] != dim:
        raise ShapeError(f"expected u of shape (B, {dim}), got {tuple(u.shape)}")
