from distillvlm.modeling.detector.concepts import ConceptHead, ConceptTagger, ConceptTags
from distillvlm.modeling.detector.config import DetectorConfig
from distillvlm.modeling.detector.detector import Detector
from distillvlm.modeling.detector.losses import DetectionTargets

__all__ = [
    "ConceptHead",
    "ConceptTagger",
    "ConceptTags",
    "DetectionTargets",
    "Detector",
    "DetectorConfig",
]
