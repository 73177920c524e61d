"""A coremltools pass that fuses the five ops of a Keras PReLU into one `prelu` op.

coremltools has such a pass, but it does not apply if another op uses the PReLU's input, as the skip
connection of a residual block does. 23 of the 48 PReLUs of the big MattingNet would stay five ops.
"""

import numpy as np
from coremltools.converters.mil.mil import Block, Operation, Program, Var
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.helper import block_context_manager
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

NAME = "portrait::fuse_shared_prelu"


@register_pass(namespace="portrait")
class fuse_shared_prelu(AbstractGraphPass):
    """Replaces relu(x) + a * relu(-1 * x), with a of shape (1, C, 1, 1), by prelu(x, alpha=-a).

    The replaced ops are no longer used, and coremltools removes them later.
    """

    def apply(self, prog: Program) -> None:
        for function in prog.functions.values():
            _fuse(function)


@block_context_manager
def _fuse(block: Block) -> None:
    for op in list(block.operations):
        match = _match(op)
        if match is None:
            continue
        x, slopes = match
        (old,) = op.outputs
        new = mb.prelu(x=x, alpha=slopes, name=op.name, before_op=op)
        block.replace_uses_of_var_after_op(anchor_op=op, old_var=old, new_var=new)
        block.remove_ops([op])


def _match(op: Operation) -> tuple[Var, np.ndarray] | None:
    """The input and the slopes of the PReLU that ends in `op`, or None."""
    if op.op_type != "add":
        return None
    for positive, negative in ((op.x, op.y), (op.y, op.x)):
        scaled = _constant_times(negative)
        if scaled is None or not (_made_by(positive, "relu") and _made_by(scaled[1], "relu")):
            continue
        slopes, rectified = scaled
        x = positive.op.x
        negated = _constant_times(rectified.op.x)
        if negated is None or negated[1] is not x or not np.all(negated[0] == -1):
            continue
        if x.rank == 4 and slopes.shape == (1, x.shape[1], 1, 1):
            return x, -slopes.reshape(-1)
    return None


def _made_by(var: Var, op_type: str) -> bool:
    return var.op is not None and var.op.op_type == op_type


def _constant_times(var: Var) -> tuple[np.ndarray, Var] | None:
    """The constant and the variable of a product of the two, or None."""
    if not _made_by(var, "mul"):
        return None
    for constant, other in ((var.op.x, var.op.y), (var.op.y, var.op.x)):
        if constant.val is not None:
            return np.asarray(constant.val), other
    return None
