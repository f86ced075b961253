"""Regions of every photo on disk, made once, read by memory map."""

# Shapes: n photos, V views, R regions, F feature size, G tags.
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from distillvlm.data.pixels import load_pixels
from distillvlm.data.records import Record
from distillvlm.structures.regions import Regions

IDENTITY, FLIP = 0, 1
FIELDS = tuple(field.name for field in fields(Regions))


class RegionStore:
    """A folder with one array file [n, V, ...] for each field of `Regions`; features lie there as fp16.

    Opened for reading once every photo is in it: `extract_regions` makes it.
    """

    def __init__(self, folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        self.key: str = meta["key"]
        self.photo_ids: list[str] = meta["photo_ids"]
        self.views: int = meta["views"]
        self.row_of = {photo_id: row for row, photo_id in enumerate(self.photo_ids)}
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in FIELDS}
        if not np.load(folder / "done.npy").all():
            raise ValueError(f"region store {folder}: not every photo is in it; run its stage again")

    @property
    def feature_size(self) -> int:
        return self.arrays["features"].shape[-1]

    def regions(self, photo_ids: Sequence[str], views: Sequence[int] | None = None) -> Regions:
        """Regions of the photos in the order given, features as float32.

        Raises:
            ValueError: a photo is not in the store.
        """
        missing = [photo_id for photo_id in photo_ids if photo_id not in self.row_of]
        if missing:
            raise ValueError(f"region store: no regions of photo {missing[0]!r}")
        rows = [self.row_of[photo_id] for photo_id in photo_ids]
        view_of = [IDENTITY] * len(rows) if views is None else list(views)
        picked = {name: torch.from_numpy(np.asarray(array[rows, view_of])) for name, array in self.arrays.items()}
        return Regions(**{**picked, "features": picked["features"].float()})


def store_key(*parts: str) -> str:
    """Checksum of everything a store depends on (weights, sizes, views): another key, another store."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def weights_checksum(module: torch.nn.Module) -> str:
    """SHA-256 over names and values of a network's state."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def extract_regions(
    describe: Callable[[Tensor, Sequence[Record], int], Regions],
    records: Sequence[Record],
    image_size: tuple[int, int],
    folder: Path,
    key: str,
    views: int = 1,
    batch_size: int = 32,
    label: str = "regions",
) -> RegionStore:
    """Runs a detector over photos (view 1 is the mirrored photo) and keeps what it says; continues a cut-off run.

    describe: pixels uint8 [B, H, W, 3], their records and the number of the view -> `Regions` of those pixels.

    Raises:
        ValueError: the folder holds the regions of another detector, other photos or other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"key": key, "views": views, "photo_ids": [record.photo_id for record in records]}
    meta_path = folder / "meta.json"
    if meta_path.exists() and json.loads(meta_path.read_text()) != meta:
        raise ValueError(
            f"region store {folder}: made by another detector or from other photos; delete it to remake it"
        )
    done_path = folder / "done.npy"
    done = np.load(done_path) if meta_path.exists() else np.zeros(len(records), bool)
    todo = np.flatnonzero(~done)
    arrays: dict[str, np.memmap] = {}
    batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
    with ThreadPoolExecutor(2) as loaders:
        for rows in tqdm(batches, desc=label, unit="batch", mininterval=1.0):
            chosen = [records[row] for row in rows]
            pixels = torch.from_numpy(
                np.stack(list(loaders.map(lambda record: load_pixels(record.path, image_size), chosen)))
            )
            for view in range(views):
                regions = describe(pixels.flip(2) if view == FLIP else pixels, chosen, view)
                arrays = arrays or _open_arrays(folder, regions, len(records), views)
                for name, array in arrays.items():
                    array[rows, view] = getattr(regions, name).to(_stored_type(name, regions)).cpu().numpy()
            done[rows] = True
            if not meta_path.exists():
                meta_path.write_text(json.dumps(meta))
            for array in arrays.values():
                array.flush()
            np.save(done_path, done)
    return RegionStore(folder)


def _stored_type(name: str, regions: Regions) -> torch.dtype:
    return torch.float16 if name == "features" else getattr(regions, name).dtype


def _open_arrays(folder: Path, regions: Regions, photos: int, views: int) -> dict[str, np.memmap]:
    arrays = {}
    for name in FIELDS:
        value = getattr(regions, name)
        path = folder / f"{name}.npy"
        dtype = str(_stored_type(name, regions)).removeprefix("torch.")
        shape = (photos, views, *value.shape[1:])
        mode = "r+" if path.exists() else "w+"
        arrays[name] = np.lib.format.open_memmap(path, mode=mode, dtype=np.dtype(dtype), shape=shape)
    return arrays
