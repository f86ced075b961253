"""Distillation of attention maps."""

# Shapes: B photos, H heads, Q queries, K keys, M valid queries.
from __future__ import annotations

import torch
from torch import Tensor

from distillvlm.losses.processes import global_mean


def attention_loss(*maps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Squared error of attention probabilities (before dropout), summed over keys, mean over heads and valid queries.

    maps: (student's [B, H, Q, K], teacher's [B, H, Q, K], valid [B, Q]) of each group of queries; K may differ between
    groups. Scalar in 0-2, and 0 where no query is valid; the mean is over the queries of all processes. A mean over
    keys would leave about 1e-4 of it, inert beside the other losses.

    Source: Fang et al. 2021, arXiv:2104.02096, attention distillation.

    Raises:
        ValueError: heads, queries or keys of two maps differ, or `valid` does not fit them.
    """
    errors_M = torch.cat([_errors(*group) for group in maps])
    return global_mean(errors_M.sum(), len(errors_M))


def _errors(student_BHQK: Tensor, teacher_BHQK: Tensor, valid_BQ: Tensor) -> Tensor:
    if student_BHQK.shape != teacher_BHQK.shape:
        raise ValueError(
            f"Expected maps of one shape but the student's is {tuple(student_BHQK.shape)} "
            f"and the teacher's {tuple(teacher_BHQK.shape)}"
        )
    batch, _, queries, _ = student_BHQK.shape
    if valid_BQ.shape != (batch, queries):
        raise ValueError(f"Expected valid of shape {(batch, queries)} but received {tuple(valid_BQ.shape)}")
    error_BQ = (student_BHQK.float() - teacher_BHQK.float()).square().sum(-1).mean(1)
    return error_BQ[valid_BQ]
