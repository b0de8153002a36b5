"""Time of one layer by the length of the sequence: notebook 02's *Who waits for whom*.

hello experiment sequence-speed

A recurrent layer, self-attention that makes its weights, and the same with PyTorch's fused function; what is
timed takes turns, round by round, so that whatever else the machine does falls on all of them.
"""

import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from scripts.tables import write_rows, write_settings
from utils.models.transformer import MultiHeadAttention

WIDTH, HEADS = 128, 4
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
LARGEST = 2**30  # bytes of the weights of one layer; what would take more is left out
KINDS = ("GRU", "attention by hand", "fused attention")


def make_layer(kind: str, width: int = WIDTH, heads: int = HEADS) -> Callable:
    """A layer as a function from [batch, length, width] to as much; attention includes its projections."""
    torch.manual_seed(0)
    if kind == "GRU":
        gru = nn.GRU(width, width, batch_first=True)
        return lambda inputs: gru(inputs)[0]
    attention = MultiHeadAttention(width, heads)
    return lambda inputs: attention(*attention.project(inputs), need_weights=kind == "attention by hand")[0]


def layer_seconds(layer: Callable, inputs: torch.Tensor, backward: bool, least: float = 0.05) -> float:
    """Seconds of one call, the median of as many as take at least so many seconds together."""
    taken = []
    while sum(taken) < least:
        started = time.perf_counter()
        with torch.set_grad_enabled(backward):
            outputs = layer(inputs)
        if backward:
            outputs.sum().backward()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def measure_speed(lengths=LENGTHS, batches=(1, 32), threads=(1, 2), rounds=5, name="sequence-speed"):
    """Time every layer at every length; writes ``NAME.csv`` and ``NAME.json``."""
    layers = {kind: make_layer(kind) for kind in KINDS}
    cases = [
        case
        for case in itertools.product(batches, threads, lengths, KINDS, (False, True))
        if case[3] != "attention by hand" or 4 * case[0] * HEADS * case[2] ** 2 <= LARGEST
    ]
    before, seconds, load = torch.get_num_threads(), {case: [] for case in cases}, []
    for number in range(-1, rounds):  # the first round warms up
        load.append(round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None)
        for case in cases:
            batch, cores, length, kind, backward = case
            torch.set_num_threads(cores)
            inputs = torch.randn(batch, length, WIDTH, requires_grad=backward)
            taken = layer_seconds(layers[kind], inputs, backward)
            if number >= 0:
                seconds[case].append(1000 * taken)
        print(f"round {number + 1} of {rounds}, load {load[-1]}", flush=True)
    torch.set_num_threads(before)
    write_rows(name, [_row(case, milliseconds) for case, milliseconds in seconds.items()])
    settings = {
        "command": f"hello experiment {name}",
        "layers": f"width {WIDTH}, {HEADS} heads, single precision; attention with its four projections",
        "left out": f"attention by hand where its weights would take more than {LARGEST / 2**20:.0f} MiB",
        "rounds": rounds,
        "milliseconds": "the median, the smallest and the largest over the rounds",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "programs running at the start of each round (load average)": load,
    }
    write_settings(name, settings)


def _row(case, milliseconds):
    batch, cores, length, kind, backward = case
    row = {"kind": kind, "batch": batch, "threads": cores, "length": length}
    row["passes"] = "forward and backward" if backward else "forward"
    found = (statistics.median(milliseconds), min(milliseconds), max(milliseconds))
    return row | dict(zip(("milliseconds", "low", "high"), (round(one, 4) for one in found), strict=True))
