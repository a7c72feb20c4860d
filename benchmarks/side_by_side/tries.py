"""Ways to make a product faster, each beside the product as it is: seconds, in gradients, and how far it is off."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import params
from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.linalg import rows
from geomlab.linalg.basis import Basis
from geomlab.linalg.lanczos import eigenpairs
from geomlab.risk import gradient
from geomlab.rng import generator
from side_by_side import replay, solvers
from side_by_side.cases import Case
from side_by_side.meter import clock, medians

Entry = dict[str, Any]
Tensors = tuple[Tensor, ...]
CHUNKS = (16, 32, 64, 125, 250)
TOGETHER = 8  # vectors
VECTORS = 30  # of a basis


def compile_it(case: Case, repeats: int, add: Callable[[str, Callable[[], Any]], None]) -> None:
    """The one that takes minutes."""
    bench = Bench(case, repeats)
    work = lambda: bench.replayed(bench.forward, finish=compiled)  # noqa: E731
    add("compiled, forward over reverse", lambda: guarded(work))


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
        self.split: dict[str, tuple[torch.fx.GraphModule, Tensors, float]] = {}
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
        for power in (16, 19, 22, 25) if self.cuda else (16, 20):
            found[f"orthogonalising, 2^{power} rows at a time"] = lambda power=power: self.orthogonalised(
                power
            )
        if self.cuda:
            found |= {
                "TF32": self.tf32,
                "bf16 autocast": self.bf16,
                "replayed as a CUDA graph": lambda: self.replayed(self.forward, finish=graphed),
            }
        if sum(w.ndim == 4 for w in self.weights) > 1 and not self.cuda:
            found["images channel by channel"] = lambda: self.laid_out(torch.contiguous_format)
            found["images and weights channels last"] = lambda: self.laid_out(torch.channels_last)
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
        if product.__name__ not in self.split:
            start = clock()
            # make_fx counts the arguments of a method wrongly.
            made = replay.split(lambda w, v: product(w, v), self.weights, self.pieces)
            self.split[product.__name__] = (*made, clock() - start)
        module, constants, seconds = self.split[product.__name__]
        made = {"preparing_seconds": seconds, "operations": len(module.graph.nodes)}
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
        base = GaussNewton(self.case.subject, self.case.batches, self.case.names, memory=solvers.MEMORY)

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

    def orthogonalised(self, power: int) -> Entry:
        """A vector against others, as Lanczos does at each step; beside a product."""
        basis, many = Basis(self.vector), VECTORS
        for number in range(many):
            basis.append(self.vector.roll(number) / self.vector.norm())
        kept = solvers.our_operator(self.case)
        with patch.object(rows, "ROWS_OF_GPU" if self.cuda else "ROWS", 1 << power):
            times = medians(
                {
                    "this": lambda: basis.orthogonalise(self.vector),
                    "product": lambda: kept.matvec(self.vector),
                },
                self.repeats,
            )
        return {
            "vectors": many,
            "seconds": times["this"],
            "in_products": times["this"] / times["product"],
        }

    def chunks(self, size: int) -> Entry:
        smaller = replace(self.case.batches, batch_size=size)
        operator = Hessian(self.case.subject, smaller, self.case.names, memory=solvers.MEMORY)
        return self.timed(lambda: operator.matvec(self.vector))

    def laid_out(self, memory: torch.memory_format) -> Entry:
        """The product as it is has the images as they were read: CIFAR's have their channels last, the weights not."""
        subject, batches = self.case.subject, self.case.batches
        weights = {
            n: w.contiguous(memory_format=memory) if w.ndim == 4 else w for n, w in subject.weights.items()
        }
        moved = replace(batches, images=batches.images.contiguous(memory_format=memory))
        operator = Hessian(subject.at(weights), moved, self.case.names, memory=solvers.MEMORY)
        return self.timed(lambda: operator.matvec(self.vector))

    def tf32(self) -> Entry:
        """Matrix products in TF32."""
        return self.rounded(
            _TF32(self.case.subject, self.case.batches, self.case.names, memory=solvers.MEMORY)
        )

    def bf16(self) -> Entry:
        with torch.autocast("cuda", torch.bfloat16):
            kept = solvers.our_operator(self.case)
        return self.rounded(kept)

    def rounded(self, operator: Hessian) -> Entry:
        """How far the eigenvalues are off, too."""
        exact, found = (
            eigenpairs(each, 5, generator(0, "lanczos"), max_products=60, search=0)[0].values
            for each in (solvers.our_operator(self.case), operator)
        )
        off = {"eigenvalue_relative_differences": ((found - exact) / exact).abs().tolist()}
        return self.timed(lambda: operator.matvec(self.vector)) | off


class _TF32(Hessian):
    def matmat(self, vectors: Tensor) -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return super().matmat(vectors)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False


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
