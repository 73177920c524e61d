"""The process that `gpu_engine.run` starts, with environment variables that select the driver.

python -P gpu_engine_child.py MODEL.tflite INPUTS.npy OUTPUTS.npz REFUSED LATE

INPUTS are float32 (N, H, W, C). Writes `outputs`, float32 with N rows, and `wholly`. Exits with the
status REFUSED if LiteRT refuses to run the model on the GPU, and with LATE if LiteRT stops waiting
for the driver. Both print the reason.
"""

import sys

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel, HardwareAccelerator


def main(file: str, taken: str, given: str, refused: str, late: str) -> None:
    try:
        model = CompiledModel.from_file(file, hardware_accel=HardwareAccelerator.GPU)
    except RuntimeError as error:
        _end(error, refused)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    size = int(np.prod(outputs[-1].get_tensor_details()["shape"]))
    results = []
    for picture in np.load(taken):
        inputs[0].write(np.ascontiguousarray(picture))
        model.run_by_index(0, inputs, outputs)
        try:
            results.append(outputs[-1].read(size, np.float32))
        except RuntimeError as error:
            _end(error, late)
    np.savez(given, outputs=results, wholly=model.is_fully_accelerated())


def _end(error: RuntimeError, status: str) -> None:
    print((str(error).splitlines() or ["unknown"])[-1])
    sys.exit(int(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
