"""What a caption step of `photos-small` costs: with freed memory kept in the process or not, Adam fused or not.

    cd training && .venv/bin/python benchmarks/caption_step.py

Prints processor seconds a step, which other work on the machine changes little, side by side in one run.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from distillvlm.data.text_batches import TextBatch
from distillvlm.data.words import words_over
from distillvlm.engine.allocator import keep_freed_memory
from distillvlm.recipes.language import new_model
from distillvlm.recipes.photos.settings import photos_small
from distillvlm.structures.regions import Regions
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import ObjectiveTask

NOWHERE = Path()
RECIPE = photos_small(NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE)
VOCABULARY, ANSWERS, TAGS, REGIONS, FEATURES, TOKENS = 6400, 1100, 270, 50, 1536, 14
ROUNDS, STEPS = 3, 4
MODES = {"as ever": (False, False), "memory kept": (True, False), "memory kept, Adam fused": (True, True)}


def main() -> None:
    if len(sys.argv) > 1:
        measure(*MODES[sys.argv[1]])
        return
    costs: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode in MODES:
            run = subprocess.run([sys.executable, __file__, mode], check=True, capture_output=True, text=True)
            user, system = run.stdout.split()
            costs[mode].append((float(user), float(system)))
    print("| step | user s | system s | ratio |\n|---|---|---|---|")
    medians = {mode: [median(column) for column in zip(*runs, strict=True)] for mode, runs in costs.items()}
    for mode, (user, system) in medians.items():
        print(f"| {mode} | {user:.2f} | {system:.2f} | {(user + system) / sum(medians['as ever']):.2f} |")


def measure(keeps_memory: bool, fused: bool) -> None:
    """Prints user and system seconds of a step."""
    if keeps_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    letters = [f"w{number}" for number in range(VOCABULARY)]
    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    words = words_over((*specials, *letters), letters, letters[:TAGS], letters[:ANSWERS])
    task = ObjectiveTask(new_model(RECIPE.student, words, FEATURES, seed=0), LanguageObjective())
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-4, fused=fused)
    batch = caption_batch()
    step(task, optimizer, batch)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(STEPS):
        step(task, optimizer, batch)
    after = resource.getrusage(resource.RUSAGE_SELF)
    print((after.ru_utime - before.ru_utime) / STEPS, (after.ru_stime - before.ru_stime) / STEPS)


def step(task: ObjectiveTask, optimizer: torch.optim.Optimizer, batch: TextBatch) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        losses = task(batch)
    optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
    optimizer.step()


def caption_batch() -> TextBatch:
    photos, texts = RECIPE.batches.captions
    tokens = torch.randint(5, VOCABULARY, (photos, texts, TOKENS))
    regions = Regions(
        boxes=torch.rand(photos, REGIONS, 4),
        features=torch.randn(photos, REGIONS, FEATURES),
        labels=torch.zeros(photos, REGIONS, dtype=torch.long),
        attributes=torch.zeros(photos, REGIONS, dtype=torch.long),
        scores=torch.zeros(photos, REGIONS),
        valid=torch.ones(photos, REGIONS, dtype=torch.bool),
        tags=torch.randint(0, TAGS, (photos, 8)),
    )
    valid = torch.ones(photos, texts, dtype=torch.bool)
    return TextBatch("captions", regions, None, tokens, tokens.clone(), valid, torch.arange(photos))


if __name__ == "__main__":
    main()
