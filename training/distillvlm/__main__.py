"""Command line: `python -m distillvlm run smoke`, `python -m distillvlm run photos-small --data ROOT`."""

from __future__ import annotations

import os

# Threads of OpenMP that wait by spinning steal the cores of whatever else runs; set before torch loads OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from distillvlm.cli import main

if __name__ == "__main__":
    main()
