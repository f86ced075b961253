from __future__ import annotations

import torch

from distillvlm.modeling.detector.pyramid import BiFPN, Fusion


def test_levels_have_equal_channels_at_strides_8_to_64() -> None:
    maps = [torch.randn(2, 3, 16, 24), torch.randn(2, 5, 8, 12), torch.randn(2, 7, 4, 6)]
    levels = BiFPN((3, 5, 7), channels=8, num_layers=2)(maps)
    assert [tuple(level.shape) for level in levels] == [(2, 8, 16, 24), (2, 8, 8, 12), (2, 8, 4, 6), (2, 8, 2, 3)]


def test_every_input_reaches_every_level() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 4, 16 // s, 16 // s, requires_grad=True) for s in (1, 2, 4)]
    for level in BiFPN((4, 4, 4), channels=8, num_layers=1)(maps):
        gradients = torch.autograd.grad(level.square().sum(), maps, retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_fusion_weighs_by_shares_and_drops_negative_weights() -> None:
    fusion = Fusion(3, channels=1)
    fusion.conv = torch.nn.Identity()
    fusion.weights.data = torch.tensor([3.0, 1.0, -5.0])
    fused = fusion(torch.full((1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 100.0))
    torch.testing.assert_close(fused.item(), (3 * 4 + 1 * 2) / 4.0001)
