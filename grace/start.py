"""What a run starts from: the model, the samples, and checks that they go together before the first step."""

from dataclasses import replace
from pathlib import Path

import torch

from geomlab import checkpoint, params
from geomlab.architectures import Preprocessing, Size
from geomlab.data import embedded, sources
from geomlab.data.checks import check_labels
from geomlab.data.source import Source
from geomlab.errors import UserError
from geomlab.spec import parse
from grace import methods
from grace import model as models
from grace.batches import Pool, training_domains
from grace.method import Method
from grace.model import Model
from grace.run import Run
from grace.settings import Recipe


def start_run(recipe: Recipe, initial: str | None, seed: int, device: str = "cpu") -> tuple[Run, str | None]:
    """A run before its first step and before its method has prepared it, and the digest of what it starts from.

    Raises:
        UserError: if the start, the samples, the method and the number of steps do not go together.
    """
    method = methods.get(recipe.method)
    source = sources.open_source(recipe.data.train)
    model, origin = start_model(recipe, method, source, initial, seed)
    model.precision = getattr(torch, recipe.optimisation.precision)
    model.to(device).eval()
    pool, validation = open_pools(recipe, source, model.preprocessing.frame, seed)
    if method.held_back and validation is None:
        raise UserError(
            f"{method.name} {method.held_back} on held-back samples, there are none; set data.validation=0.1"
        )
    steps = recipe.optimisation.steps(pool.steps_per_epoch) if method.takes_steps(recipe.options) else 0
    _check_fits(model, pool)
    return Run(model, recipe, pool, validation, steps), origin


def start_model(
    recipe: Recipe, method: Method, source: Source, initial: str | None, seed: int
) -> tuple[Model, str | None]:
    """The model that training starts from, and the digest of its tensors, None where they are random.

    Raises:
        UserError: if there is nothing to start from, or it does not fit.
    """
    labels = source.labels
    if labels and recipe.data.templates:
        labels = replace(labels, templates=recipe.data.templates)
    where = initial if method.from_scratch else initial or recipe.data.initial
    if where is None and method.from_scratch and recipe.architecture and labels:
        architecture = recipe.architecture.model_dump()
        mean, std = architecture.pop("mean"), architecture.pop("std")
        preprocessing = Preprocessing(architecture["vision_cfg"]["image_size"], mean, std)
        return models.from_scratch(architecture, labels, preprocessing, seed), None
    if where is None:
        raise UserError(f"{method.name} on {recipe.data.train} has nothing to start from; give --from CKPT")
    if where.startswith("open_clip:"):
        model = models.from_open_clip(where, labels, seed)
        return model, params.digest(model.tensors())
    found = read_start(where)
    return models.from_checkpoint(found, labels), found.digest


def read_start(where: str) -> checkpoint.Checkpoint:
    """A checkpoint file, or `embedded:NAME`.

    Raises:
        UserError: if it cannot be read.
    """
    name = where.removeprefix("embedded:")
    return checkpoint.read(embedded.checkpoint_path(name) if name != where else Path(where))


def open_pools(recipe: Recipe, source: Source, size: Size, seed: int) -> tuple[Pool, Pool | None]:
    """The training samples, and those held back, None where the recipe holds none back.

    Raises:
        UserError: if the domains are not the data's, or training samples are test samples.
    """
    _check_disjoint(recipe, source)
    data = recipe.data
    domains = training_domains(source, data.domains, data.held_out)
    pool = Pool(
        source,
        domains,
        size,
        recipe.optimisation.batch_size,
        data.shift,
        data.flip,
        seed,
        (data.validation, 1.0),
    )
    if not data.validation:
        return pool, None
    held_back = replace(pool, shift=0, flip=False, between=(0.0, data.validation))
    if not len(held_back):
        raise UserError(f"data.validation={data.validation:g} holds back none of the samples; raise it")
    return pool, held_back


def _check_fits(model: Model, pool: Pool) -> None:
    """Refuse images that the model cannot take and labels outside its classes before the first step."""
    where = pool.source.spec
    try:
        classes = model.outputs(pool.example.to(model.get_buffer("mean").device))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    for domain, labels in zip(pool.domains, pool.labels, strict=True):
        check_labels(labels, classes, f"{where}, {domain}")


def _check_disjoint(recipe: Recipe, source: Source) -> None:
    """Refuse test data that cannot be opened, and to train on it: ids are compared where both SPECs name one place."""
    test = recipe.data.test
    if test is None:
        return
    judged = sources.open_source(test)
    if _place(test) != _place(recipe.data.train):
        return
    shared = {str(name) for domain in source.domains for name in source.index(domain).ids} & {
        str(name) for domain in judged.domains for name in judged.index(domain).ids
    }
    if shared:
        raise UserError(
            f"data.train={recipe.data.train} shares {len(shared)} samples with data.test={test}; "
            "train on another split"
        )


def _place(text: str) -> tuple[str, str]:
    return parse(text).head, parse(text).positional
