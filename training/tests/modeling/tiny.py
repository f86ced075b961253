"""A tiny random model and tiny random regions for tests."""

import torch

from distillvlm.modeling.vision_language import VisionLanguageConfig, VisionLanguageModel
from distillvlm.structures.lexicon import Lexicon
from distillvlm.structures.regions import Regions

VOCABULARY, TAGS, FEATURES, ANSWERS = 23, 7, 10, 5


def tiny_model(seed: int = 0, **changes: int | float) -> VisionLanguageModel:
    """Two layers of 16, with matrices drawn ten times as wide as BERT's so that attention is far from uniform."""
    torch.manual_seed(seed)
    sizes = dict(hidden_size=16, num_layers=2, num_heads=4, intermediate_size=32)
    config = VisionLanguageConfig(
        vocab_size=VOCABULARY, num_answers=ANSWERS, region_feature_size=FEATURES, **{**sizes, **changes}
    )
    allowed = torch.ones(VOCABULARY, dtype=torch.bool)
    allowed[[0, 1, 2, 4]] = False
    tag_tokens = torch.randint(5, VOCABULARY, (TAGS, 2))
    tag_tokens[::2, 1] = 0
    model = VisionLanguageModel(config, Lexicon(tag_tokens, allowed))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2) if parameter.dim() > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def tiny_regions(batch: int = 3, regions: int = 4, tags: int = 3, seed: int = 1) -> Regions:
    """Random regions; the last region of photo 0 is padding, its last tag is absent."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(batch, regions, 2, generator=generator) * 0.5
    sizes = torch.rand(batch, regions, 2, generator=generator) * 0.5
    valid = torch.ones(batch, regions, dtype=torch.bool)
    valid[0, -1] = False
    tag_rows = torch.randint(0, TAGS, (batch, tags), generator=generator)
    tag_rows[0, -1] = -1
    return Regions(
        boxes=torch.cat([corners, corners + sizes], -1),
        features=torch.randn(batch, regions, FEATURES, generator=generator),
        labels=torch.zeros(batch, regions, dtype=torch.long),
        attributes=torch.full((batch, regions), -1),
        scores=torch.rand(batch, regions, generator=generator),
        valid=valid,
        tags=tag_rows,
    )
