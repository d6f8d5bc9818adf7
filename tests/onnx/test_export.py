"""Whole networks as ONNX files, run by onnxruntime: the same scores, for images of every size."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinyfcn
import tinyfcn.functional as F
from tinyfcn import backend, models, nn, onnx
from tinyfcn.functional.resampling import Adaptive, Nearest, Resample2d

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

# Each network, as narrow as it goes, and an image size to write it down with.
SMALL = {
    **{name: {} for name in models.names()},
    **{
        name: {"width": 1 / 32}
        for name in models.names()
        if name.startswith(("fcn8", "fcn16", "fcn32", "vgg", "deconv", "deeplab_", "dil", "parse"))
    },
    "alexnet": {"width": 1 / 16},
    "caffenet": {"width": 1 / 16},
    "deeplabv3_resnet50": {"width": 1 / 16},
    "deeplabv3_resnet101": {"width": 1 / 16},
    "fcn_resnet50": {"width": 1 / 16},
    "fcn_resnet101": {"width": 1 / 16},
    "pspnet": {"width": 1 / 16},
    "same_resolution": {"width": 1 / 8},
    **{name: {"width": 1 / 16} for name in models.names() if name.startswith(("resnet", "google"))},
    "segnet": {"width": 1 / 16},
    "segnet_basic": {"width": 1 / 8},
    "unet": {"width": 1 / 16, "geometry": "aligned"},
}
FIXED = {"caffenet": (3, 227, 227)}
# Halved five times they round up at every stage, at some and at none; the last has no full window.
SIZES = ((1, 97, 131), (2, 64, 96), (1, 66, 65))


def filled(model: nn.Module) -> nn.Module:
    """The model with no weight and no statistic left at its start."""
    rng = np.random.default_rng(0)
    for p in model.parameters():
        if not p.data.any() or (p.data == 1).all():
            p.data[...] = rng.normal(1, 0.1, p.shape) * (1 if p.data.any() else 0.1)
    for name, b in model.named_buffers():
        if name.endswith("running_mean"):
            b.data[...] = rng.normal(0, 0.1, b.shape)
        elif name.endswith("running_var"):
            b.data[...] = rng.uniform(0.5, 2, b.shape)
    return model.eval()


def session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def compare(model, path, shapes, scale=1e-5):
    """Run both on random images, and give what onnxruntime says."""
    runs = session(path)
    for shape in shapes:
        x = np.random.default_rng(1).standard_normal(shape, np.float32)
        with tinyfcn.no_grad():
            expected = model(tinyfcn.tensor(x)).numpy()
        (got,) = runs.run(["scores"], {"images": x})
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=scale * np.abs(expected).max())


def test_a_sliding_window_is_no_network_but_a_loop(tmp_path):
    model = models.sliding_window(width=1 / 32)
    for dynamic in (True, False):
        with pytest.raises(onnx.CannotExport, match=r"other steps|indexing with arrays"):
            onnx.export(model, tmp_path / "a.onnx", (3, 9, 12), dynamic=dynamic)


@pytest.mark.parametrize("name", [name for name in models.names() if name != "sliding_window"])
def test_every_network(name, tmp_path):
    model = filled(models.create(name, num_classes=5, **SMALL[name]))
    size = FIXED.get(name, onnx.EXAMPLE)
    onnx.export(model, tmp_path / "a.onnx", size, dynamic=name not in FIXED)
    shapes = [(1, *size)] if name in FIXED else [(n, 3, h, w) for n, h, w in SIZES]
    compare(model, tmp_path / "a.onnx", shapes)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fcn8s", {"width": 1 / 32, "geometry": "reference"}),
        ("fcn8s", {"width": 1 / 32, "at_once": True, "batch_norm": True}),
        ("fcn16s", {"width": 1 / 32, "recompute": True}),
        ("fcn32s", {"width": 1 / 32, "backbone": "caffenet", "geometry": "reference"}),
        ("fcn16s", {"width": 1 / 16, "backbone": "resnet18"}),
        ("dilation_context", {"width": 1 / 32, "geometry": "reference", "context": "large"}),
        ("deconvnet", {"width": 1 / 32, "batch_norm": True}),
    ],
)
def test_other_forms(name, arguments, tmp_path):
    model = filled(models.create(name, num_classes=5, **arguments))
    onnx.export(model, tmp_path / "a.onnx")
    compare(model, tmp_path / "a.onnx", [(n, 3, h, w) for n, h, w in SIZES])


def test_unet_without_padding(tmp_path):
    model = filled(models.unet(in_channels=1, width=1 / 16, geometry="reference"))
    onnx.export(model, tmp_path / "a.onnx", (1, 572, 572))
    compare(model, tmp_path / "a.onnx", [(1, 1, 188, 204), (2, 1, 220, 188)])


def test_the_file_says_what_goes_in_and_out(tmp_path):
    model = models.fcn8s(num_classes=5, width=1 / 32)
    onnx.export(model, tmp_path / "a.onnx", metadata={"order": "RGB"})
    runs = session(tmp_path / "a.onnx")
    (images,), (scores,) = runs.get_inputs(), runs.get_outputs()
    assert (images.name, images.shape) == ("images", ["N", 3, "H", "W"])
    assert (scores.name, scores.shape[:2]) == ("scores", ["N", 5])
    assert runs.get_modelmeta().custom_metadata_map == {"order": "RGB"}


def test_squares_are_an_example_only(tmp_path):
    onnx.export(models.fcn32s(num_classes=5, width=1 / 64), tmp_path / "a.onnx", (3, 33, 33))
    runs = session(tmp_path / "a.onnx")
    assert runs.get_inputs()[0].shape == ["N", 3, "H", "W"]
    assert runs.get_outputs()[0].shape == ["N", 5, "H", "W"]


def test_parameters_keep_their_names_and_values(tmp_path):
    import onnx as package

    model = filled(models.segnet_basic(num_classes=2, width=1 / 8))
    onnx.export(model, tmp_path / "a.onnx")
    written = package.load(tmp_path / "a.onnx").graph.initializer
    arrays = {one.name: package.numpy_helper.to_array(one) for one in written}
    state = model.state_dict()
    assert {n for n in state if not n.endswith("num_batches_tracked")} <= set(arrays)
    for name in set(arrays) & set(state):
        np.testing.assert_array_equal(arrays[name], state[name])


def test_nodes_have_the_names_of_their_layers(tmp_path):
    import onnx as package

    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(2))
    model = nn.Sequential(block, Stage(lambda x: F.relu(x) + 1.0), block)
    onnx.export(model, tmp_path / "a.onnx")
    names = [node.name for node in package.load(tmp_path / "a.onnx").graph.node]
    assert names == ["0.0/Conv_0", "0.1/MaxPool_1", "1/Relu_2", "1/Add_3", "0.0/Conv_4",
                     "0.1/MaxPool_5"]  # fmt: skip


def test_what_is_computed_twice_is_written_once(tmp_path):
    import onnx as package

    model = Stage(lambda x: F.relu(x).reshape(-1, x.shape[2]) * F.relu(x).reshape(-1, x.shape[2]))
    onnx.export(model, tmp_path / "a.onnx")
    kinds = [node.op_type for node in package.load(tmp_path / "a.onnx").graph.node]
    assert kinds == ["Relu", "Shape", "Concat", "Reshape", "Mul"]


def test_the_model_is_left_as_it_was(tmp_path):
    model = models.fcn32s(width=1 / 64)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.train()
    call = tinyfcn.Function.__call__
    onnx.export(model, tmp_path / "a.onnx")
    assert model.training and tinyfcn.Function.__call__ is call
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_threads_do_not_disturb_each_other(tmp_path):
    """Two exports and one training at the same time."""
    layer, done = nn.Conv2d(3, 4, 3), threading.Event()
    x = tinyfcn.tensor(np.ones((1, 3, 5, 5), np.float32))
    expected = layer(x).numpy()

    def compute():
        while True:
            y = layer(x)
            y.sum().backward()
            np.testing.assert_array_equal(y.numpy(), expected)
            if done.wait(0.001):
                return

    def export(name):
        model = filled(models.create(name, num_classes=5, width=1 / 32))
        for _ in range(3):
            onnx.export(model, tmp_path / f"{name}.onnx")
        compare(model, tmp_path / f"{name}.onnx", [(1, 3, 97, 66)])

    with ThreadPoolExecutor(3) as pool:
        training = pool.submit(compute)
        try:
            for each in [pool.submit(export, name) for name in ("fcn8s", "parsenet")]:
                each.result()
        finally:
            done.set()
        training.result()
    assert tinyfcn.Function.__call__.__name__ == "__call__"


def test_a_model_that_fails_is_left_as_it_was(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Conv2d(5, 2, 1)).train()
    arrays = [p.data for p in model.parameters()]
    calls = tinyfcn.Function.__call__, nn.Module.__call__
    with backend.using("numpy"), pytest.raises(ValueError, match="5 input channels"):
        onnx.export(model, tmp_path / "a.onnx")
    assert all(p.data is a for p, a in zip(model.parameters(), arrays, strict=True))
    assert calls == (tinyfcn.Function.__call__, nn.Module.__call__)
    assert all(m.training for m in model.modules())
    with backend.using("meta") as meta:
        assert not {"as_array", "to_numpy"} & set(vars(meta))
        assert not {"asarray", "result_type"} & set(vars(meta.xp))


class Stage(nn.Module):
    """One function as a network."""

    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


def one_of_two(x):
    both = F.relu(x), F.sigmoid(x)
    return both[x.shape[2] < 300]


def rectified_in_place(x):
    y = x * 2.0
    y.data[:, 0] = 0.0
    return y


REJECTED = {
    "Dropout has no operator in ONNX": lambda x: F.dropout(x, 0.5, training=True),
    "values that were computed outside": lambda x: x * (x > 0),
    "computed outside the ops": lambda x: x + np.asarray(x.data).mean(),
    "that were computed outside": lambda x: x + tinyfcn.Tensor(x.data * 2),
    "takes other steps": lambda x: x if x.shape[2] < 300 else F.relu(x) + F.relu(x),
    "takes other steps: 2 ops": lambda x: F.relu(x[:, :, 1:] if x.shape[2] % 2 else x),
    "takes other steps: 1 ops": lambda x: F.relu(x) if x.shape[2] < x.shape[3] else -x,
    "other steps: 1 ops": lambda x: F.relu(x) if x.shape[2] > 9 else F.elu(x),
    "other steps: 1 ops for": lambda x: F.relu(x) if x.shape[0] < 3 else -x,
    "another one of its tensors": one_of_two,
    "cannot be followed": lambda x: x * float(x.shape[2]),
    "computes something from the image's size": lambda x: x[:, :, : min(x.shape[2:])],
    "something from the image's size": lambda x: x[:, :, : min(100, x.shape[2])],
    "looks at the values": lambda x: F.relu(x) if x.sum() > 0 else -x,
    "at the values": lambda x: x * x.mean().item(),
    "at the values of": lambda x: x * float(x.data[0, 0, 0, 0]),
    "at the values of tensors": lambda x: x + x.mean().numpy(),
    "at the values of tensors, and": lambda x: x[:, :, int(x.data.argmax()) :],
    "in place": rectified_in_place,
    "indexing with arrays": lambda x: x[:, [0, 2]],
    "indexing backwards": lambda x: x[:, ::-1],
    "not exact in float32": lambda x: F.interpolate(x, scale_factor=1.1, mode="bilinear"),
    "Adaptive and Nearest have no operator": lambda x: Resample2d(
        Adaptive(x.shape[2], 2), Nearest(x.shape[3], 2)
    )(x),
    "which is even": lambda x: F.local_response_norm(x, 4),
    "must give one tensor": lambda x: (F.relu(x), F.relu(x)),
    "must be float32": lambda x: F.relu(x),
    "at least stride [+] padding": lambda x: F.max_pool2d(x, 2, 3, ceil_mode=True),
}


@pytest.mark.parametrize("reason", REJECTED)
def test_what_cannot_be_written_is_rejected(reason, tmp_path):
    model = Stage(REJECTED[reason])
    if reason == "must be float32":
        model.weight = nn.Parameter(np.zeros(3))
    with pytest.raises(ValueError, match=f"onnx: .*{reason}"):
        onnx.export(model, tmp_path / "a.onnx")
    assert not [*tmp_path.iterdir()]


class Counting(nn.Module):
    """A network that changes its buffer."""

    def __init__(self, change):
        self.seen = nn.Buffer(np.ones(1, np.float32))
        self.change = change

    def forward(self, x):
        self.change(self.seen)
        return x * self.seen


def added(buffer):
    buffer.data += 1


def written(buffer):
    buffer.data[...] = 1


def replaced(buffer):
    buffer.data = buffer.data + 1


@pytest.mark.parametrize("change", [added, written, replaced])
def test_a_network_that_changes_a_buffer_is_rejected(change, tmp_path):
    model = Counting(change)
    with pytest.raises(onnx.CannotExport, match="changes seen while it runs"):
        onnx.export(model, tmp_path / "a.onnx")
    assert model.seen.numpy() == 1


def test_what_another_call_remembered_is_rejected(tmp_path):
    remembered = {}

    def remember(x):
        y = F.relu(x)
        remembered[int(x.shape[2])] = y
        return y

    def use_size(x):
        y = x[:, :, 1:]
        return F.interpolate(y, size=(remembered[int(x.shape[2])].shape[2], 5))

    def use_tensor(x):
        return F.sigmoid(x) + remembered[int(x.shape[2])]

    onnx.export(Stage(remember), tmp_path / "a.onnx")
    for use in (use_size, use_tensor):
        with pytest.raises(onnx.CannotExport, match="computed outside"):
            onnx.export(Stage(use), tmp_path / "b.onnx")


def test_high_images_are_tried_where_sizes_must_be_multiples(tmp_path):
    def forward(x):
        if x.shape[2] % 32 or x.shape[3] % 32:
            raise ValueError("multiples of 32")
        return F.relu(x) if x.shape[2] < x.shape[3] else -x

    with pytest.raises(onnx.CannotExport, match="other steps"):
        onnx.export(Stage(forward), tmp_path / "a.onnx", (3, 64, 96))


def test_weights_that_no_file_can_hold(monkeypatch, tmp_path):
    from tinyfcn.onnx import proto

    monkeypatch.setattr(proto, "LARGEST", (1 << 20) + 3 * 4)
    with pytest.raises(onnx.CannotExport, match="12 bytes of weights are more than a file"):
        onnx.export(nn.Conv2d(3, 1, 1, bias=False), tmp_path / "a.onnx")
    assert not [*tmp_path.iterdir()]


def test_a_network_without_ops(tmp_path):
    model = Stage(lambda x: F.dropout(x, training=False))
    onnx.export(model, tmp_path / "a.onnx")
    compare(model, tmp_path / "a.onnx", [(1, 3, 2, 1)])


def test_arrays_of_parameters_and_detached_tensors(tmp_path):
    model = Stage(lambda x: F.relu(x).detach() * model.weight.data + model.weight.detach())
    model.weight = nn.Parameter(np.array([2.0, 3.0, 4.0], np.float32).reshape(3, 1, 1))
    onnx.export(model, tmp_path / "a.onnx")
    compare(model, tmp_path / "a.onnx", [(2, 3, 2, 1)])


def test_other_steps_can_be_exported_for_one_size(tmp_path):
    model = Stage(lambda x: F.relu(x) * float(x.shape[2]) if x.shape[2] < 300 else F.sigmoid(x))
    onnx.export(model, tmp_path / "a.onnx", (2, 3, 7, 9), dynamic=False)
    assert session(tmp_path / "a.onnx").get_inputs()[0].shape == [2, 3, 7, 9]
    compare(model, tmp_path / "a.onnx", [(2, 3, 7, 9)])


@pytest.mark.parametrize("size", [(3, 0, 5), (3, 5), (1, 1, 3, 5, 5), (3, 2.0, 5)])
def test_a_size_is_three_or_four_whole_numbers(size, tmp_path):
    with pytest.raises(ValueError, match="onnx: input_size must be"):
        onnx.export(Stage(F.relu), tmp_path / "a.onnx", size)


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"tinyfcn\[onnx\]"):
        onnx.export(Stage(F.relu), tmp_path / "a.onnx")
