"""The part of a Hessian product that depends on the vector, as a graph of operations without autograd.

make_fx writes down all operations of a product, from the weights on. What does not depend on the vector is done once
and kept; the rest is replayed. Nothing has to be formulated anew: reverse over reverse gives the same numbers as
autograd, and forward over reverse, which is slow where it is run eagerly, has no more left to do for a vector.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

Tensors = tuple[Tensor, ...]


def split(
    product: Callable[[Tensors, Tensors], Any], weights: Tensors, vector: Tensors
) -> tuple[fx.GraphModule, Tensors]:
    """A module of the vector's pieces and constants, and those constants."""
    whole = make_fx(product)(weights, vector)
    inputs = [node for node in whole.graph.nodes if node.op == "placeholder"]
    moving = set(inputs[len(weights) :])
    for node in whole.graph.nodes:
        if any(needed in moving for needed in node.all_input_nodes):
            moving.add(node)
    known = _known(whole, dict(zip(inputs, weights, strict=False)), moving)
    return _rest(whole, inputs[len(weights) :], moving, known)


@torch.no_grad()
def _known(whole: fx.GraphModule, values: dict[fx.Node, Tensor], moving: set[fx.Node]) -> dict[fx.Node, Any]:
    """Values of the nodes that do not depend on the vector."""
    interpreter = fx.Interpreter(whole)
    interpreter.env = {node: value.detach() for node, value in values.items() if node not in moving}
    last = {needed: node for node in whole.graph.nodes for needed in node.all_input_nodes}
    wanted = {n for node in moving for n in node.all_input_nodes}
    for node in whole.graph.nodes:
        if node not in moving and node.op not in ("placeholder", "output"):
            interpreter.env[node] = interpreter.run_node(node)
            for needed in node.all_input_nodes:
                if last[needed] is node and needed not in wanted:
                    interpreter.env.pop(needed, None)
    return interpreter.env


def _rest(
    whole: fx.GraphModule, inputs: Sequence[fx.Node], moving: set[fx.Node], known: dict[fx.Node, Any]
) -> tuple[fx.GraphModule, Tensors]:
    graph, new = fx.Graph(), {}
    nodes = [n for n in whole.graph.nodes if n in moving and n.op not in ("placeholder", "output")]
    for node in inputs:
        new[node] = graph.placeholder(node.name)
    result = next(n for n in whole.graph.nodes if n.op == "output")
    edges = dict.fromkeys(
        needed for node in [*nodes, result] for needed in node.all_input_nodes if needed not in moving
    )
    for node in edges:
        new[node] = graph.placeholder(f"known_{node.name}")
    for node in nodes:
        new[node] = graph.node_copy(node, lambda needed: new[needed])
    graph.output(fx.map_arg(result.args[0], lambda needed: new[needed]))
    graph.eliminate_dead_code()
    return fx.GraphModule(whole, graph), tuple(known[node] for node in edges)


def size(constants: Tensors) -> int:
    """Bytes."""
    return sum({c.untyped_storage().data_ptr(): c.untyped_storage().nbytes() for c in constants}.values())
