"""What inference needs of a library, from onnxruntime or OpenVINO, in float32.

The network is not theirs: they run a file into which tinyfcn has written its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

inference = contextlib.nullcontext
models = SimpleNamespace()  # whatever its name is


def setup(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load the network into the peer that the job names."""
    if job["backend"] == "cupy":
        raise ValueError("measured without a GPU only")
    load = _onnxruntime if job["peer"] == "onnxruntime" else _openvino
    version, run = load(job["network"], job["threads"])
    models.fcn8s = lambda **options: SimpleNamespace(eval=lambda: run)
    return {job["peer"]: version, "threads": job["threads"]}


def _onnxruntime(file: str, threads: int) -> tuple[str, Callable[[Any], Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return onnxruntime.__version__, lambda images: session.run(None, {"images": images})


def _openvino(file: str, threads: int) -> tuple[str, Callable[[Any], Any]]:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }  # fmt: skip
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()
    return openvino.__version__, lambda images: request.infer(
        {"images": images}, share_inputs=True, share_outputs=True
    )


def synchronize() -> None:
    """What a step does is done when it returns."""


def count_flops(step: Callable[[], object]) -> None:
    """Do the work once; tinyfcn's side counts."""
    step()


def normal(*shape: int) -> Any:
    """Normal float32 numbers."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def ready(op: Callable[[Any], Any], *layers: Any) -> Callable[[Any], Any]:
    """The network, as it has been loaded."""
    return op
