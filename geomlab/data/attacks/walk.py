"""One run of APGD: momentum, and steps that are halved where they no longer help.

Croce & Hein 2020 (2003.01690), algorithm 1, for each sample by itself. Samples that are done leave.
"""

import math

import torch
from torch import Tensor

from geomlab.data.attacks.ascent import Best, Forward, climb, look
from geomlab.data.attacks.balls import Ball
from geomlab.data.attacks.goal import Goal
from geomlab.typing import Images, Int

MOMENTUM = 0.75  # α, section 3
RISES = 0.75  # ρ: the share of steps that must raise the loss, section 3


def checkpoints(steps: int) -> list[int]:
    """Iterations w_j = ⌈p_j·steps⌉ after which steps may be halved, with 0 in front (section 3).

    p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06).
    """
    shares = [0.0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    rounded = (math.ceil(round(share * steps, 6)) for share in shares if share <= 1)
    return list(dict.fromkeys(rounded))


class Walk:
    """Where the samples of one run are; those that are done leave.

    Args:
        forward: images -> outputs that the goal takes.
        goal: of the run's samples.
        ball: what they stay in.
        centre: (n, C, H, W) clean images.
        rows: (n,) numbers of the samples in what is known of all.
    """

    def __init__(
        self, forward: Forward, goal: Goal, ball: Ball, centre: Images, rows: Int[Tensor, "n"]
    ) -> None:
        self._forward, self._goal, self._ball = forward, goal, ball
        self._state: dict[str, Tensor] = {"centre": centre, "rows": rows}

    def run(self, start: Images, best: Best, steps: int) -> None:
        """Walk.

        Args:
            start: (n, C, H, W) first iterates, in the ball.
            best: what is known of all samples; better points are written there.
            steps: iterations.

        Raises:
            UserError: as `slope`.
        """
        value, done, gradient = climb(self._forward, self._goal, start)
        n = len(start)
        self._state |= {
            "x": start,
            "before": start,
            "gradient": gradient,
            "value": value,
            "top": start,
            "top_gradient": gradient,
            "top_value": value,
            "checked": value,
            "length": value.new_full((n, 1, 1, 1), 2 * self._ball.eps),
            "halved": torch.ones_like(done),  # at the first checkpoint there is none before to compare with
            "rises": torch.zeros(n, dtype=torch.int64, device=start.device),
        }
        best.offer(self._state["rows"], start, value, done)
        checks = checkpoints(steps)
        for step in range(1, steps + 1):
            if not self._leave(done):
                return
            self._step(first=step == 1)
            if step == steps:
                values, done = look(self._forward, self._goal, self._state["x"])
            else:
                values, done, self._state["gradient"] = climb(self._forward, self._goal, self._state["x"])
            best.offer(self._state["rows"], self._state["x"], values, done)
            self._see(values)
            if step in checks:
                self._check(step - checks[checks.index(step) - 1])

    def _leave(self, done: Tensor) -> bool:
        """Drop the samples that are done; whether any is left."""
        going = ~done
        if not bool(going.all()):
            self._state = {name: one[going] for name, one in self._state.items()}
            self._goal = self._goal.take(going)
        return bool(going.any())

    def _step(self, *, first: bool) -> None:
        s, ball = self._state, self._ball
        x, centre = s["x"], s["centre"]
        after = ball.project(x + s["length"] * ball.direction(s["gradient"]), centre)
        if not first:
            after = ball.project(x + MOMENTUM * (after - x) + (1 - MOMENTUM) * (x - s["before"]), centre)
        s["before"], s["x"] = x, after

    def _see(self, values: Tensor) -> None:
        s = self._state
        s["rises"] = s["rises"] + (values > s["value"])
        higher = values > s["top_value"]
        for name, now in (("top", s["x"]), ("top_gradient", s["gradient"]), ("top_value", values)):
            s[name] = torch.where(_like(higher, now), now, s[name])
        s["value"] = values

    def _check(self, since: int) -> None:
        """Halve the steps of samples whose loss rose too seldom, or not at all though they were not halved before."""
        s = self._state
        stuck = ~s["halved"] & (s["top_value"] <= s["checked"])
        halve = (s["rises"] < RISES * since) | stuck
        s["length"] = torch.where(_like(halve, s["length"]), s["length"] / 2, s["length"])
        for name in ("x", "gradient", "value"):  # they go on from the highest loss
            top = s["top" if name == "x" else f"top_{name}"]
            s[name] = torch.where(_like(halve, top), top, s[name])
        s["halved"], s["checked"], s["rises"] = halve, s["top_value"], torch.zeros_like(s["rises"])


def _like(which: Tensor, tensor: Tensor) -> Tensor:
    return which.view(-1, *[1] * (tensor.ndim - 1))
