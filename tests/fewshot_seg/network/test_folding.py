"""Folded networks: the same maps but for rounding, anew after every change of the weights, never in training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.backbones import build_backbone
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, load_embedder
from fewshot_seg.network.folding import FoldedCopy, fold


def lively(network: nn.Module) -> nn.Module:
    """The network with norms that do something, as trained ones do."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


@pytest.mark.parametrize(("name", "left"), [("timm/test_efficientnet", 0), ("timm/resnet10t", 1)])
@pytest.mark.parametrize("size", [(64, 64), (97, 130)])
def test_the_maps_are_the_networks(name: str, left: int, size: tuple[int, int]) -> None:
    network = lively(build_backbone(name, weights=False).trunk)
    folded = fold(network)
    assert folded is not network
    assert sum(isinstance(one, nn.BatchNorm2d) for one in folded.modules()) == left
    batch = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected = network(batch)
        torch.testing.assert_close(folded(batch), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


def test_the_default_and_its_layers() -> None:
    trunk = load_embedder("default", device="cpu").trunk
    folded, batch = fold(trunk), torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        (last, layers), (expected, others) = (one.layers(batch) for one in (folded, trunk))  # type: ignore[operator]
        assert list(layers) == list(others)
        for own, other in [(last, expected), *((layers[name], others[name]) for name in layers)]:
            torch.testing.assert_close(own, other, atol=1e-4 * float(other.abs().max()), rtol=0)


class _Misleading(nn.Module):
    """A norm that stands behind a convolution in the list alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, batch: Tensor) -> Tensor:
        return torch.relu(self.conv(self.norm(batch)))


def test_a_network_whose_order_misleads_stays_as_it_is() -> None:
    network = lively(_Misleading())
    assert fold(network) is network


def test_the_copy_is_kept_until_the_weights_change() -> None:
    network = lively(build_backbone("timm/test_efficientnet", weights=False).trunk)
    kept, batch = FoldedCopy(), torch.randn(1, 3, 64, 64)
    first = kept.of(network)
    assert kept.of(network) is first
    changes = [
        lambda: nn.init.normal_(next(network.parameters())),
        lambda: network.load_state_dict({name: 1.1 * value for name, value in network.state_dict().items()}),
        lambda: torch.optim.SGD(network.parameters(), 0.1).step(),
        lambda: setattr(next(network.parameters()), "data", torch.randn_like(next(network.parameters()))),
    ]
    with torch.no_grad():
        next(network.parameters()).grad = torch.ones_like(next(network.parameters()))
        for change in changes:
            before = kept.of(network)
            change()
            after = kept.of(network)
            assert after is not before
            expected = network(batch)
            torch.testing.assert_close(after(batch), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    hook = next(network.modules()).register_forward_hook(lambda *_: None)
    assert kept.of(network) is network  # who watches the network sees it
    hook.remove()
    assert kept.of(network) is not network


@pytest.fixture
def embedder() -> Embedder:
    spec = EmbedderSpec("timm/test_efficientnet", preprocessing=Preprocessing(size=64))
    made = build_embedder(spec, weights=False)
    lively(made.trunk)
    return made


def test_the_embedder_folds_for_inference_alone(embedder: Embedder) -> None:
    batch = torch.randn(2, 3, 64, 64)

    def folds() -> bool:
        """Whether the trunk itself was passed by."""
        seen: list[int] = []
        last = next(module for module in reversed(list(embedder.trunk.modules())) if isinstance(module, nn.Conv2d))
        forward = last.forward
        last.forward = lambda x: (seen.append(1), forward(x))[1]  # type: ignore[method-assign]
        embedder(batch)
        del last.forward
        return not seen

    embedder._folded.of(embedder.trunk)  # made before: making it looks at the trunk itself
    assert not folds()  # its weights want a gradient
    with torch.no_grad():
        assert folds()
        embedder.precision = "bf16"
        assert not folds()
        embedder.precision = "fp32"
        embedder.train()
        assert not folds()
    embedder.eval().requires_grad_(False)
    with torch.no_grad():
        embedder._folded.of(embedder.trunk)
    assert folds()
    assert embedder(batch.requires_grad_()).vector.requires_grad
    assert not any("_folded" in name for name in embedder.state_dict())
    twin = copy.deepcopy(embedder)
    nn.init.zeros_(next(twin.parameters()))
    with torch.no_grad():
        assert not torch.equal(twin(batch).vector, embedder(batch).vector)


def test_threads_inside_torch_change_no_bit(embedder: Embedder) -> None:
    default = load_embedder("default", device="cpu")
    batch, before = torch.randn(1, 3, 128, 128), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                found.append([one(batch).feature_map for one in (default, embedder)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for maps in found[1:] for a, b in zip(maps, found[0], strict=True))


def test_sizes_in_any_order_and_copies_are_the_same() -> None:
    folded = fold(lively(build_backbone("timm/test_efficientnet", weights=False).trunk))
    batches = [torch.randn(count, 3, *size) for count, size in [(1, (64, 64)), (2, (64, 64)), (1, (96, 64))]]
    with torch.inference_mode():
        first = [folded(batch) for batch in batches]
        again = [folded(batch) for batch in reversed(batches)][::-1]
        copied = copy.deepcopy(folded)  # after it was used: laid out weights can't be copied
        for batch, one, two in zip(batches, first, again, strict=True):
            assert torch.equal(one, two)
            assert torch.equal(copied(batch), one)
