"""`--device` -> a device of torch that is there."""

import gc
from pathlib import Path

import psutil
import torch

from geomlab.errors import UserError

GIBIBYTE = 1 << 30


def choose(name: str) -> str:
    """The device to use; `auto` is cuda where there is one.

    Raises:
        UserError: if there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError(name)
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device '{name}' cannot be used here; give auto, cpu, or cuda where there is a GPU"
        ) from error
    return name


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. torch's allocator of the CPU has no exception of its own for that."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release(device: torch.device) -> None:
    """Give back what was freed, so that it can be had in other pieces."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def available_memory(device: torch.device) -> float:
    """Bytes that can still be had: on the device, or of the machine and within the limit of its container."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + unused)
    free = float(psutil.virtual_memory().available)
    limit, used, details = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current", "stat"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        reclaimed = dict(line.split() for line in details.read_text().splitlines()).get("inactive_file", "0")
        free = min(free, float(text) - float(used.read_text()) + float(reclaimed))
    return free
