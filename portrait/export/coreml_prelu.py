"""A coremltools pass that makes one `prelu` op of the five that a Keras PReLU becomes.

coremltools has such a pass, but only where nothing else reads the PReLU's input. In a residual
block the skip does: of the big MattingNet's 48 PReLUs 23 would stay five ops each.
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
    """relu(x) + a * relu(-1 * x), with a of (1, C, 1, 1), becomes prelu(x, alpha=-a).

    The parts are left behind without a reader; coremltools removes such ops afterwards.
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
    """The input and the slopes of the PReLU that ends in `op`, if one does."""
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
    """The constant and the variable of a product."""
    if not _made_by(var, "mul"):
        return None
    for constant, other in ((var.op.x, var.op.y), (var.op.y, var.op.x)):
        if constant.val is not None:
            return np.asarray(constant.val), other
    return None
