"""Losses with a proxy, a learned vector, for each class: proxy-anchor and the normalised softmax.

A batch's images are compared with C proxies instead of with one another, so that each image meets every class in every
step; that is why these losses learn in few epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def proxy_anchor_loss(f: Tensor, labels: Tensor, proxies: Tensor, margin: float, alpha: float) -> Tensor:
    """Equation 4 of Kim et al., 2020: every proxy is an anchor.

    With s(x, p) the cosine, the mean over the batch's classes of ``log(1 + sum exp(-alpha (s(x,p) - margin)))``, x of
    the proxy's own class, plus the mean over all classes of ``log(1 + sum exp(alpha (s(x,p) + margin)))``, x of the
    other classes.

    Args:
        f: (B,D) embeddings, B >= 1.
        labels: (B,) int64 in 0 .. C - 1.
        proxies: (C,D), of any length but 0.
        margin: >= 0.
        alpha: the scale, > 0.

    Returns:
        A scalar > 0.
    """
    s = _cosines(f, proxies)
    own = functional.one_hot(labels, len(proxies)).bool()
    pull = _softplus_sum(-alpha * (s - margin), own)
    push = _softplus_sum(alpha * (s + margin), ~own)
    return pull.sum() / own.any(0).sum() + push.mean()


def _softplus_sum(x: Tensor, chosen: Tensor) -> Tensor:
    """(C,): ``log(1 + sum exp x)`` down each column of x (B,C), over what is chosen; 0 where nothing is."""
    x = x.masked_fill(~chosen, -torch.inf)
    return torch.cat([x.new_zeros(1, x.shape[1]), x]).logsumexp(0)


def normalized_softmax_loss(f: Tensor, labels: Tensor, proxies: Tensor, alpha: float) -> Tensor:
    """Zhai and Wu, 2019, equation 4: the mean of ``-log softmax(alpha s(x, p))`` at the own class, s the cosine.

    f, labels and proxies as for `proxy_anchor_loss`; alpha > 0, the scale, is one over the temperature.
    """
    return functional.cross_entropy(alpha * _cosines(f, proxies), labels)


def _cosines(f: Tensor, proxies: Tensor) -> Tensor:
    """(B,C)."""
    return functional.normalize(f, dim=1) @ functional.normalize(proxies, dim=1).t()


class ProxyLoss(nn.Module):
    """`proxy_anchor_loss` or `normalized_softmax_loss`, as `name` says, with its proxies (classes,dim).

    Call torch.manual_seed first; alpha is the scale, margin is proxy-anchor's.
    """

    def __init__(self, classes: int, dim: int, name: str, alpha: float, margin: float = 0.0) -> None:
        super().__init__()
        self.name, self.alpha, self.margin = name, alpha, margin
        proxies = torch.empty(classes, dim)
        nn.init.kaiming_normal_(proxies, mode="fan_out")
        self.proxies = nn.Parameter(proxies)

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        if self.name == "proxy-anchor":
            return proxy_anchor_loss(f, labels, self.proxies, self.margin, self.alpha)
        return normalized_softmax_loss(f, labels, self.proxies, self.alpha)
