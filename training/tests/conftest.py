"""What every test begins with."""

from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """accelerate keeps one state a process, and a training of another precision is refused beside it."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
