"""Networks by name: the part up to the last map (B,C,h,w), with its weights."""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.brought import brought_name, brought_preprocessing, build_brought
from fewshot_seg.network.catalogue import CATALOGUE
from fewshot_seg.network.patches import patch_trunk
from fewshot_seg.network.sources import PLUGIN, Named, hub_repository, load_place, not_here, read_name
from fewshot_seg.network.weights import PACKAGES, load_package_weights, load_url_weights

_log = logging.getLogger(__name__)

_TORCHVISION_TRANSFORMERS = re.compile(r"vit_|swin_|maxvit_")
_TORCHVISION_HALF_RANGE = ("googlenet", "inception_v3")  # their published weights expect mean and std 0.5
_CHOOSE = "choose another network, such as torchvision/resnet50 or timm/vit_small_patch14_dinov2"
_PROBE_SIZE = (96, 160)


@dataclass(frozen=True)
class Backbone:
    """A network cut after its last map.

    Attributes:
        name: the canonical name, see `canonical_name`.
        trunk: (B,3,H,W) -> (B,C,h,w), in eval mode.
        channels: C.
        classifier: the network's own last layer, (B,C) average-pooled -> class scores, frozen. Only for the
            networks of the catalogue, where it is known to stand right behind the pooling, and only with weights.
    """

    name: str
    trunk: nn.Module
    channels: int
    classifier: nn.Linear | None


class TimmTrunk(nn.Module):
    """The last convolutional map (B,C,h,w) of a timm network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Tensor) -> Tensor:
        """(B,3,H,W) -> (B,C,h,w)."""
        features: Tensor = self.model.forward_features(batch)  # type: ignore[operator]
        return features

    def layers(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What `forward` gives, and the maps on the way to it by name, "blocks.0" and on; none but for EfficientNets.

        They are the network's own steps, in its own order, so that the last map is `forward`'s to the bit.
        """
        from timm.models.efficientnet import EfficientNet

        if not isinstance(self.model, EfficientNet):
            return self(batch), {}
        x = self.model.bn1(self.model.conv_stem(batch))
        found = {}
        for number, block in enumerate(self.model.blocks):
            x = block(x)
            found[f"blocks.{number}"] = x
        last: Tensor = self.model.bn2(self.model.conv_head(x))
        return last, found


def canonical_name(name: str) -> str:
    """The full name, "timm/NAME", "torchvision/NAME" or "plugin/NAME", of `name`.

    The rule: an alias (see `catalogue.CATALOGUE`) first; then a name with its library before the
    slash; a bare NAME means torchvision's network of that name if there is one, else timm's, else one that another
    package brings (docs/plugins.md). Where weights are, which
    a name may say, too (`sources.read_name`), is left out.

    Raises:
        ConfigError: no such network (with the nearest names), or a transformer of torchvision's.
        CheckpointError: a place of weights that does not say which network they are of.
    """
    return _canonical(read_name(name).network)


def _canonical(name: str) -> str:
    name = CATALOGUE[name].backbone if name in CATALOGUE else name
    library, slash, bare = name.partition("/")
    if not slash:
        library, bare = ("torchvision" if name in _torchvision_names() else "timm"), name
    if library == "torchvision" and bare in _torchvision_names():
        if _TORCHVISION_TRANSFORMERS.match(bare):
            raise ConfigError(
                f"{name!r} is a transformer of torchvision's: take timm's, such as timm/vit_small_patch14_dinov2"
            )
        return f"torchvision/{bare}"
    if library == "timm" and _is_timm_name(bare):
        return f"timm/{bare}"
    if (not slash or f"{library}/" == PLUGIN) and (brought := brought_name(bare)) is not None:
        return brought
    raise ConfigError(f"unknown network {name!r}: {_nearest(library, bare, bool(slash))}")


def _torchvision_names() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def _is_timm_name(name: str) -> bool:
    """Plain names only: timm also takes "hf-hub:..." and "local-dir:...", which fetch or read others."""
    import timm

    if re.fullmatch(r"\w+\.\w+", name):  # with the tag of one of its published weights
        return name in timm.list_pretrained()
    return re.fullmatch(r"\w+", name) is not None and bool(timm.is_model(name))


def _nearest(library: str, name: str, has_library: bool) -> str:
    import timm

    if has_library and library not in ("timm", "torchvision"):
        return "write timm/NAME or torchvision/NAME"
    names = [f"torchvision/{n}" for n in _torchvision_names()] + [f"timm/{n}" for n in timm.list_models()]
    wanted = f"{library}/{name}" if has_library else name
    pool = names if has_library else sorted({n.partition("/")[2] for n in names} | set(CATALOGUE))
    near = difflib.get_close_matches(wanted, pool, n=3, cutoff=0.6)
    return f"the nearest are {', '.join(near)}" if near else "timm and torchvision have none of a name like it"


def default_preprocessing(name: str, size: int | None = None, width: int | None = None) -> Preprocessing:
    """The preprocessing that the backbone's weights were trained with, `size` pixels high and wide or `width`.

    `size` None means 384, and for networks of patches what they were made for.

    Raises:
        ConfigError: an unknown backbone. CheckpointError: as `canonical_name`.
    """
    named = read_name(name)
    name = _canonical(named.network)
    if name.startswith(PLUGIN):
        return brought_preprocessing(name, size, width)
    library, _, bare = name.partition("/")
    trained = _trained(named, name)
    if size is None:
        own = trained.get("input_size") if library == "timm" and _of_patches(bare) else None
        size = 384 if own is None else own[1]
    if library == "torchvision" and bare in _TORCHVISION_HALF_RANGE:
        return Preprocessing(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), width=width)
    # The packages' weights want ImageNet's mean and std, not those that timm knows for its own weights.
    if library == "timm" and name not in PACKAGES and trained:
        interpolation = "bicubic" if trained["interpolation"] == "bicubic" else "bilinear"
        return Preprocessing(size, trained["mean"], trained["std"], interpolation, width)
    return Preprocessing(size=size, width=width)


def _trained(named: Named, name: str) -> dict[str, Any]:
    """timm's `pretrained_cfg` of a network, with what the place of its weights says of them; {} for torchvision's."""
    if not name.startswith("timm/"):
        return {}
    import timm

    config: Any = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    return {**(config.to_dict() if config else {}), **named.trained}


def _of_patches(bare: str) -> bool:
    """Whether a timm network was made for one size of image, and is to be told that others come."""
    import timm

    config: Any = timm.get_pretrained_cfg(bare)
    return "patch" in bare or (config is not None and bool(config.fixed_input_size))


def build_backbone(name: str, weights: bool) -> Backbone:
    """The network `name` cut after its last map, in eval mode on the CPU.

    With `weights` its pretrained ones are loaded, strictly: from where the name says (`sources.read_name`), for the
    networks of `PACKAGES` from an installed package, else by torchvision's or timm's own loader, which DOWNLOADS a file
    that isn't in its cache. Without, the values are random, drawn from torch's global generator.

    Raises:
        ConfigError: an unknown name, or a network without a map (B,C,h,w).
        CheckpointError: the weights are missing, can't be downloaded, or don't fit.
    """
    named = read_name(name)
    name = _canonical(named.network)
    if named.place is not None and not name.startswith("timm/"):
        raise ConfigError(f"{name}: weights from a file or the hub are of timm's networks: write timm/NAME@FILE")
    if name.startswith(PLUGIN):
        return Backbone(name, *build_brought(name, weights), None)
    model, trunk = _build(name)
    trunk, channels = _with_channels(trunk.eval(), model, name)  # before a download, which a refusal would waste
    if weights and named.place is None:
        _load_weights(model, name)
    last = getattr(model, "fc", None) if name.startswith("torchvision/") else _drop_timm_classifier(model)
    if weights and named.place is not None:
        load_place(model, named.place)
    if weights and name in {one.backbone for one in CATALOGUE.values()} and isinstance(last, nn.Linear):
        return Backbone(name, trunk.eval(), channels, last.requires_grad_(False))
    return Backbone(name, trunk.eval(), channels, None)


def _build(name: str) -> tuple[nn.Module, nn.Module]:
    """The whole network and the part of it up to the last convolutional map, which shares its layers."""
    library, _, bare = name.partition("/")
    if library == "timm":
        model = _build_timm(bare, False)
        return model, TimmTrunk(model)
    from torchvision import models

    options: dict[str, Any] = {"init_weights": False} if bare in _TORCHVISION_HALF_RANGE else {}
    model = models.get_model(bare, weights=None, **options)
    return model, _torchvision_trunk(model)


def _build_timm(bare: str, pretrained: bool) -> nn.Module:
    import timm

    if _of_patches(bare):
        with contextlib.suppress(TypeError):  # of one size alone
            return timm.create_model(bare, pretrained=pretrained, dynamic_img_size=True)
    return timm.create_model(bare, pretrained=pretrained)


def _load_weights(model: nn.Module, name: str) -> None:
    """Loads a network's published weights."""
    library, _, bare = name.partition("/")
    if (package := PACKAGES.get(name)) is not None:
        load_package_weights(model, package)
    elif library == "torchvision":
        from torchvision import models

        published = {entry.name: entry for entry in models.get_model_weights(bare)}
        chosen = published.get("IMAGENET1K_V1") or next(iter(published.values()))
        load_url_weights(model, chosen.url, name)
    else:
        _log.warning("loading the weights of %s: downloaded where timm's cache has none", name)
        try:
            published_model = _build_timm(bare, True)
        except Exception as error:  # the hub client, safetensors and timm share no error class
            raise not_here(name, hub_repository(name) or name, "model.safetensors", error) from error
        model.load_state_dict(published_model.state_dict())


def _torchvision_trunk(model: nn.Module) -> nn.Sequential:
    """The children up to the global pooling or the classifier; auxiliary classifiers are left out."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in model.named_children():
        if name in ("avgpool", "classifier", "fc"):
            break
        if not name.lower().startswith("aux"):
            parts[name] = child
    if type(model).__name__ == "DenseNet":  # its forward ends its features with a ReLU that is no child
        parts["relu"] = nn.ReLU()
    return nn.Sequential(parts)


def _drop_timm_classifier(model: Any) -> nn.Module | None:
    """Takes the classifier off `model` and gives it back."""
    last = model.get_classifier()
    try:
        model.reset_classifier(0, "")
    except (TypeError, ValueError, AssertionError, AttributeError):
        return None  # the head stays; forward_features does not run it
    return last if isinstance(last, nn.Module) else None


def _with_channels(trunk: nn.Module, model: nn.Module, name: str) -> tuple[nn.Module, int]:
    """The trunk, or another that gives a map (B,C,h,w), and C, found by running it once on a small blank image."""
    height, width = _PROBE_SIZE
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = trunk(torch.zeros(1, 3, height, width))
    except Exception:  # noqa: BLE001 - networks refuse a size in ways of their own
        out = None
    shape = tuple(out.shape) if isinstance(out, Tensor) else ()
    if len(shape) == 4 and shape[2] <= height // 2 and shape[3] <= width // 2:  # (B, h, w, C) has a large last axis
        return trunk, int(shape[1])
    found = patch_trunk(model.eval()) if name.startswith("timm/") else None
    if found is None:
        raise ConfigError(f"backbone {name!r} gives no map (B, C, h, w): {_CHOOSE}")
    return found
