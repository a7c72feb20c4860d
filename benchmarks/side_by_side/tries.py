"""Ways to make a product faster, each beside the product as it is: seconds, in gradients, and how far it is off."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import params
from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.risk import gradient
from geomlab.rng import generator
from side_by_side import replay, solvers
from side_by_side.cases import Case
from side_by_side.meter import clock, medians

Entry = dict[str, Any]
Tensors = tuple[Tensor, ...]
CHUNKS = (16, 32, 64, 125, 250)
TOGETHER = 8  # vectors
COMPILED_BELOW = 1_000_000  # parameters on a CPU: compiling a larger network takes many minutes there


def run(case: Case, repeats: int, add: Callable[[str, Callable[[], Any]], None]) -> None:
    """All of them; a failure is a result."""
    bench = Bench(case, repeats)
    for name, work in bench.works().items():
        add(name, lambda work=work: guarded(work))


def guarded(work: Callable[[], Entry]) -> Entry:
    try:
        with solvers.fair():
            return work()
    except Exception as failure:
        return {"fails": f"{type(failure).__name__}: {str(failure).splitlines()[0][:160]}"}


class Bench:
    def __init__(self, case: Case, repeats: int) -> None:
        self.case, self.repeats = case, repeats
        self.vector = torch.randn(case.dim, generator=generator(0, "vector")).to(case.subject.device)
        self.weights = tuple(case.subject.weights[name].detach().requires_grad_() for name in case.names)
        self.pieces = tuple(params.unflatten(self.vector, case.subject.weights).values())
        self.cuda = case.subject.device.type == "cuda"

    def works(self) -> dict[str, Callable[[], Entry]]:
        found: dict[str, Callable[[], Entry]] = {
            "replayed, reverse over reverse": lambda: self.replayed(self.reverse),
            "replayed, forward over reverse": lambda: self.replayed(self.forward),
            "forward over reverse, eager": lambda: self.timed(
                lambda: self.forward(self.weights, self.pieces)
            ),
            "batched gradients, 8 vectors": self.batched,
            "Gauss-Newton, jvp and vjp": self.gauss_newton,
        }
        if self.cuda:
            found |= {
                "replayed as a CUDA graph": lambda: self.replayed(self.forward, finish=graphed),
                "TF32": self.tf32,
                "bf16 autocast": self.bf16,
            }
        if self.cuda or self.case.dim < COMPILED_BELOW:
            found["compiled, forward over reverse"] = lambda: self.replayed(self.forward, finish=compiled)
        if sum(w.ndim == 4 for w in self.weights) > 1 and not self.cuda:
            found["channels last"] = self.channels_last
        for chunk in CHUNKS:
            if chunk < len(self.case.batches) and not self.cuda:
                found[f"batches of {chunk}"] = lambda chunk=chunk: self.chunks(chunk)
        return found

    def loss(self, weights: Tensors) -> Tensor:
        images, labels = self.case.data()
        return F.cross_entropy(
            self.case.subject(images, dict(zip(self.case.names, weights, strict=True))), labels
        )

    def reverse(self, weights: Tensors, vector: Tensors) -> Tensors:
        first = torch.autograd.grad(self.loss(weights), weights, create_graph=True)
        return torch.autograd.grad(first, weights, vector, materialize_grads=True)

    def forward(self, weights: Tensors, vector: Tensors) -> Tensors:
        return torch.func.jvp(torch.func.grad(self.loss), (weights,), (vector,))[1]

    def timed(self, work: Callable[[], Any], base: Hessian | None = None) -> Entry:
        """Beside a gradient and the product as it is."""
        kept = base or solvers.our_operator(self.case)
        reference = kept.matvec(self.vector)
        out = work()
        flat = out if isinstance(out, Tensor) else torch.cat([piece.reshape(-1) for piece in out])
        times = medians(
            {
                "gradient": lambda: gradient(self.case.subject, self.case.batches, self.case.names),
                "product": lambda: kept.matvec(self.vector),
                "this": work,
            },
            self.repeats,
        )
        return {
            "seconds": times["this"],
            "in_gradients": times["this"] / times["gradient"],
            "in_products": times["this"] / times["product"],
            "relative_difference": float((flat.detach() - reference).norm() / reference.norm()),
        }

    def replayed(self, product: Callable[..., Tensors], finish: Callable[..., Any] | None = None) -> Entry:
        start = clock()
        # make_fx counts the arguments of a method wrongly.
        module, constants = replay.split(lambda w, v: product(w, v), self.weights, self.pieces)
        made = {"preparing_seconds": clock() - start, "operations": len(module.graph.nodes)}
        inputs = (*self.pieces, *constants)
        start = time.perf_counter()
        call = finish(module, inputs) if finish else module

        @torch.no_grad()
        def work() -> Any:
            return call(*inputs)

        work()
        made["finishing_wall_seconds"] = time.perf_counter() - start
        return self.timed(work) | made | {"constants_gib": replay.size(constants) / 2**30}

    def batched(self) -> Entry:
        first = torch.autograd.grad(self.loss(self.weights), self.weights, create_graph=True)
        many = tuple(piece.expand(TOGETHER, *piece.shape).contiguous() for piece in self.pieces)

        def work() -> Tensor:
            found = torch.autograd.grad(
                first, self.weights, many, is_grads_batched=True, retain_graph=True, materialize_grads=True
            )
            return torch.cat([piece[0].reshape(-1) for piece in found])

        entry = self.timed(work)
        for name in ("seconds", "in_gradients", "in_products"):
            entry[name] /= TOGETHER
        return entry

    def gauss_newton(self) -> Entry:
        images, _ = self.case.data()
        base = GaussNewton(self.case.subject, self.case.batches, self.case.names)

        def logits(*weights: Tensor) -> Tensor:
            return self.case.subject(images, dict(zip(self.case.names, weights, strict=True)))

        def work() -> Tensors:
            out, pushed = torch.func.jvp(logits, self.weights, self.pieces)
            p = out.softmax(1)
            curved = p * (pushed - (p * pushed).sum(1, keepdim=True)) / len(images)
            return torch.autograd.grad(logits(*self.weights), self.weights, curved)

        torch.backends.mha.set_fastpath_enabled(False)  # it has no forward mode
        try:
            return self.timed(work, base)  # type: ignore[arg-type]
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    def chunks(self, size: int) -> Entry:
        smaller = replace(self.case.batches, batch_size=size)
        operator = Hessian(self.case.subject, smaller, self.case.names)
        return self.timed(lambda: operator.matvec(self.vector))

    def channels_last(self) -> Entry:
        subject, batches = self.case.subject, self.case.batches
        last = torch.channels_last
        weights = {
            n: w.contiguous(memory_format=last) if w.ndim == 4 else w for n, w in subject.weights.items()
        }
        images = batches.images.contiguous(memory_format=last)
        operator = Hessian(subject.at(weights), replace(batches, images=images), self.case.names)
        return self.timed(lambda: operator.matvec(self.vector))

    def tf32(self) -> Entry:
        kept = solvers.our_operator(self.case)

        def work() -> Tensor:
            torch.backends.cuda.matmul.allow_tf32 = True
            try:
                return kept.matvec(self.vector)
            finally:
                torch.backends.cuda.matmul.allow_tf32 = False

        return self.timed(work)

    def bf16(self) -> Entry:
        with torch.autocast("cuda", torch.bfloat16):
            kept = solvers.our_operator(self.case)
        return self.timed(lambda: kept.matvec(self.vector))


def compiled(module: torch.fx.GraphModule, inputs: Tensors) -> Callable[..., Any]:
    import torch._inductor

    with torch.no_grad():
        return torch._inductor.compile(module, list(inputs))


def graphed(module: torch.fx.GraphModule, inputs: Tensors) -> Callable[..., Any]:
    """The same kernels, launched as one."""
    stream = torch.cuda.Stream()
    with torch.no_grad():
        with torch.cuda.stream(stream):
            module(*inputs)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = module(*inputs)

    def call(*_: Tensor) -> Any:
        graph.replay()
        return out

    return call
