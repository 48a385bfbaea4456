"""The baseline that the paper compares similarity mining with: a same/different classifier and its Grad-CAM maps.

``L = L_ml + gamma1 L_bce + gamma2 L_bce-sm``. `PairClassifier` says from two embeddings whether their images show the
same class, and L_bce teaches it to. The maps of L_bce-sm are Grad-CAM's: the gradient of its answer's score with
regard to the last convolutional map, averaged, times that map. They are erased as in `mining.similarity`, and the
loss of the erased images is the same, too (equation 2 and its siblings).

The score reaches the map through the embedding, ``ds/dA = (df/dA)^T ds/df``. So Grad-CAM of the score is similarity
attention with ``w = ds/df``, and takes the same closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedder import Embedder, Embedding
from train_embed.losses.selection import select_pairs
from train_embed.mining.erasing import erased_loss
from train_embed.mining.similarity import MiningOptions, erase_tuples, head_maps
from train_embed.mining.tuples import check_tuples


class PairClassifier(nn.Module):
    """Same class or not, from ``|f1 - f2|``: a hidden layer with ReLU, then one logit. Symmetric in its two inputs.

    Raises:
        ConfigError: a length below 1.
    """

    def __init__(self, dim: int, hidden: int = 256) -> None:
        super().__init__()
        if dim < 1 or hidden < 1:
            raise ConfigError(f"a pair classifier needs dim and hidden of at least 1, got {dim} and {hidden}")
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, f1: Tensor, f2: Tensor) -> Tensor:
        """Logits (T,) of "same class", of f1 and f2 (T,D)."""
        if f1.ndim != 2 or f1.shape != f2.shape:
            raise ShapeError(f"expected embeddings of one shape (T,D), got {tuple(f1.shape)}, {tuple(f2.shape)}")
        logits: Tensor = self.layers((f1 - f2).abs())[:, 0]
        return logits


def pair_bce_loss(classifier: nn.Module, f: Tensor, labels: Tensor) -> Tensor:
    """L_bce: binary cross-entropy over all pairs of the batch, same and different pairs with half the weight each.

    Args:
        classifier: (f1 (P,D), f2 (P,D)) -> logits (P,) of "same class".
        f: (B,D) embeddings. Gradient goes to them and to the classifier.
        labels: (B,) whole numbers.

    Returns:
        A scalar >= 0; a kind of pair that the batch lacks counts 0.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    positives, negatives = select_pairs(f, labels)
    pairs = torch.cat([positives, negatives])
    signs = torch.cat([f.new_full((len(positives),), -1.0), f.new_ones(len(negatives))])
    losses = functional.softplus(classifier(f[pairs[:, 0]], f[pairs[:, 1]]) * signs)  # each pair's cross-entropy
    same, different = losses[: len(positives)], losses[len(positives) :]
    value: Tensor = 0.5 * (same.sum() / max(len(same), 1) + different.sum() / max(len(different), 1))
    return value


def grad_cam(
    embedder: Embedder, classifier: nn.Module, emb: Embedding, tuples: Tensor, options: MiningOptions = MiningOptions()
) -> Tensor:
    """Grad-CAM maps of the true answer for every image of every tuple.

    The anchor's and the positive's maps explain "same" of these two; a negative's explains "different" of the anchor
    and it.

    Arguments, result and errors are as in `tuple_attention`; of the options kind, `through_norm` (True is Grad-CAM's
    own definition) and `detach_maps` count. The classifier is as in `pair_bce_loss`, under DDP the module inside; no
    gradient goes to it.
    """
    check_tuples(tuples, options.kind)
    if options.detach_maps:
        emb = Embedding(*(t.detach() for t in emb))
    rows = tuples.t().reshape(-1)
    part = Embedding(emb.feature_map[rows], emb.vector[rows])
    w = _score_gradient(classifier, emb.vector, tuples)
    return head_maps(embedder, part, w, options.through_norm, options.detach_maps)


def gradcam_mining_loss(
    embedder: Embedder,
    classifier: nn.Module,
    images: Tensor,
    emb: Embedding,
    tuples: Tensor,
    options: MiningOptions = MiningOptions(),
) -> Tensor:
    """L_bce-sm: as `train_embed.mining.similarity.mining_loss`, the maps being Grad-CAM's of the pair classifier.

    The arguments are those of `grad_cam`, and images (B,3,H,W), normalised; alpha and beta are the soft mask's.

    Returns:
        A scalar: mean over the tuples; 0 where there are none.

    Raises:
        ShapeError: tuples of another size than the kind's.
    """
    maps = grad_cam(embedder, classifier, emb, tuples, options)
    if not len(maps):
        return emb.vector[:0].sum()
    return erased_loss(embedder(erase_tuples(images, tuples, maps, options)).vector, tuples.shape[1])


def _score_gradient(classifier: nn.Module, f: Tensor, tuples: Tensor) -> Tensor:
    """ds/df (size * T,D), a constant, of every image of every tuple; s the logit of the true answer."""
    columns = tuples.unbind(1)
    with torch.inference_mode(False), torch.enable_grad():
        images = [f[column].detach().requires_grad_() for column in columns]  # size x (T,D)
        same = classifier(images[0], images[1]).sum()
        first = torch.autograd.grad(same, images[:2])
        rest = [torch.autograd.grad(-classifier(images[0], negative).sum(), negative)[0] for negative in images[2:]]
    return torch.cat([*first, *rest])
