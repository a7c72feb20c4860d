"""CKA of all layers with all layers by each method, of the same pooled features, forward passes included."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from geomlab.features.extraction import Pooled
from geomlab.features.streamed import Sums
from side_by_side.cases import Case

BATCH = 250  # images of a forward pass
_SUMMED = 1000  # images whose features are added to the sums at once: of fewer the products are slower
_ROWS = 250  # of the n × n matrices of the truth


@dataclass(frozen=True, eq=False)
class Layers:
    """Layers of a network and the images they are looked at on.

    Attributes:
        case: of which the first images are taken.
        names: of the modules.
        n: number of images.
    """

    case: Case
    names: Sequence[str]
    n: int

    @classmethod
    def every(cls, case: Case) -> "Layers":
        """All modules that give a tensor of their own: neither an identity's nor that of the last in a container."""
        subject, images = case.subject, case.batches.images[:4]
        seen: dict[str, Tensor] = {}

        def hook(name: str) -> Any:
            def keep(_: nn.Module, __: Any, output: Any) -> None:
                if isinstance(output, Tensor) and all(output is not other for other in seen.values()):
                    seen[name] = output

            return keep

        handles = [m.register_forward_hook(hook(name)) for name, m in subject.module.named_modules() if name]
        subject(images)
        for handle in handles:
            handle.remove()
        return cls(case, list(seen), len(case.batches))

    @classmethod
    def blocks(cls, case: Case) -> "Layers":
        """Those that the library looks at by itself."""
        return cls(case, case.subject.layers(None), len(case.batches))

    def of(self, n: int) -> "Layers":
        """The same of fewer images."""
        return replace(self, n=n)

    def first(self, number: int) -> "Layers":
        """Fewer of them, evenly from all."""
        picked = torch.linspace(0, len(self.names) - 1, number).round().long().tolist()
        return replace(self, names=[self.names[i] for i in picked])

    @property
    def images(self) -> Tensor:
        return self.case.batches.images[: self.n]

    @torch.no_grad()
    def pooled(self, images: Tensor) -> list[Tensor]:
        """(n, d) of each layer."""
        found = self._taps(images)
        return [found[name] for name in self.names]

    @cached_property
    def _taps(self) -> Pooled:
        return Pooled.of(self.case.subject, self.images[:2], list(self.names))

    def together(self, images: Tensor) -> list[Tensor]:
        """The same of many images."""
        every = [self.pooled(part) for part in images.split(BATCH)]
        return [torch.cat(parts) for parts in zip(*every, strict=True)]

    @cached_property
    def features(self) -> list[Tensor]:
        return self.together(self.images)

    @torch.no_grad()
    def forward(self) -> None:
        """The passes alone."""
        for part in self.images.split(BATCH):
            self.case.subject(part)

    @torch.no_grad()
    def ours(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """With the products in this precision."""
        first, *rest = self.images.split(_SUMMED)
        sums = Sums.of(self.together(first), dtype=dtype)
        for part in rest:
            sums.add(self.together(part))
        return sums.cka()

    @torch.no_grad()
    def full_matrix(self, *, debias: bool, half: bool = False) -> Tensor:
        """The formula of anatome on the features of all samples, a pair at a time, as its users do.

        With `debias`, each norm of its own rows, and its root: its own debiased norms mix those of the two layers.
        """
        features = self.together(self.images)
        found = torch.zeros(len(features), len(features))
        for i, x in enumerate(features):
            for j, y in enumerate(features):
                if j >= i or not half:
                    found[i, j] = _of_features(x, y, debias)
        return found.triu() + found.triu(1).T if half else found

    def torch_cka(self, batch: int) -> Tensor:
        from torch_cka import CKA

        network = _Tapped(self, deep=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = CKA(network, network, model1_layers=network.names, model2_layers=network.names)
            with torch.no_grad():
                found.compare(self._loader(batch))
        return found.hsic_matrix

    def ckatorch(self, batch: int) -> Tensor:
        """Samples in the second axis: the first is that of its minibatches."""
        from ckatorch import CKA

        network = _Tapped(self, deep=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return CKA(network, network, layers=network.names)(self._loader(batch), epochs=1)

    def _loader(self, batch: int) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.images), batch_size=batch)

    def truth(self, *, debias: bool) -> Tensor:
        """From n × n matrices in fp64, some rows at a time."""
        features = [f.double() for f in self.features]
        n, corrections = self.n, []
        for x in features:
            sums = x @ x.sum(0) - (x.square().sum(1) if debias else 0)
            a, b = (n - 2, n - 1) if debias else (n, n)
            corrections.append((sums / a, sums.sum() / (a * b)))
        products = torch.zeros(len(features), len(features), dtype=torch.float64)
        for rows in torch.arange(n).split(_ROWS):
            grams = []
            for x, (means, mean) in zip(features, corrections, strict=True):
                gram = x[rows] @ x.T - means[rows, None] - means + mean
                if debias:  # the U-centred matrix of Székely & Rizzo 2014
                    gram[torch.arange(len(rows)), rows] = 0
                grams.append(gram.flatten())
            block = torch.stack(grams)
            products += block @ block.T
        roots = products.diagonal().sqrt()
        return products / roots[:, None] / roots


class _Tapped(nn.Module):
    """Gives each layer's pooled features to a module of its own, which the others can hook."""

    def __init__(self, layers: Layers, *, deep: bool) -> None:
        super().__init__()
        self.layers, self.deep = layers, deep
        self.taps = nn.ModuleList(nn.Identity() for _ in layers.names)
        self.names = [f"taps.{i}" for i in range(len(layers.names))]

    def forward(self, images: Tensor) -> Tensor:
        for tap, features in zip(self.taps, self.layers.together(images), strict=True):
            tap(features[None] if self.deep else features)
        return images


def _of_features(x: Tensor, y: Tensor, debias: bool) -> Tensor:
    x, y = x - x.mean(0), y - y.mean(0)
    products = [(b.T @ a).norm().square() for a, b in ((x, y), (x, x), (y, y))]
    if debias:
        n = len(x)
        rows = [f.square().sum(1) for f in (x, y)]
        products = [
            one - n / (n - 2) * (rows[a] @ rows[b]) + rows[a].sum() * rows[b].sum() / ((n - 1) * (n - 2))
            for one, (a, b) in zip(products, ((0, 1), (0, 0), (1, 1)), strict=True)
        ]
    xy, xx, yy = products
    return xy / (xx.sqrt() * yy.sqrt())
