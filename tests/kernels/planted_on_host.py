"""Mistakes in the Python that launches kernels: rows of ``planted_mistakes.py``."""

MISTAKES = [
    ("launcher.py", "elif used is not given:", "elif False:",
        "Launcher", "what was written into a copy lost"),
    ("launcher.py", "tuple(packed), shared_mem)", "tuple(packed), 0)", "Launcher",
        "dynamic shared memory not asked for"),
    ("convolution.py", "g.ph, g.pw, g.groups) == (1, 1, 1, 1, 0, 0, 1)",
        "g.ph, g.pw) == (1, 1, 1, 1, 0, 0)", "conv1x1", "taken for groups too"),
    ("convolution.py", " and g.n <= LARGEST_AXIS", "", "conv1x1", "no limit of the grid"),
    ("convolution.py", "-(-pixels // (DEPTH * shares))", "(pixels // (DEPTH * shares))",
        "conv2d_weight_grad", "pixels lost where shares do not divide them"),
    ("convolution.py", "-(-pixels // max(share, 1))", "(pixels // max(share, 1))",
        "conv2d_weight_grad", "the last share lost where it is a small one"),
    ("cupy_engine.py", "=0x{digest}", "=0", "CupyEngine", "headers not in the options"),
    ("cupy_engine.py", "self.xp.cuda.get_current_stream().synchronize()", "pass",
        "CupyEngine", "synchronize does not wait"),
    ("cupy_engine.py", "shared_mem=shared_mem", "shared_mem=0", "CupyEngine",
        "dynamic shared memory not asked for"),
    ("pooling.py", "if np.can_cast(indices.dtype, np.int32):", "if True:", "gather_plane",
        "an index of 64 bits cut to 32"),
    ("resample.py", "x.dtype if last else dtype", "x.dtype",
        "resample2d", "rounded between two passes"),
    *(("launcher.py", f"if {check}:", "if False:", "Launcher", f"no check of {what}")
        for check, what in {
            "kernel is None": "the name", "element not in types": "the declared type",
            "len(arguments) != len(plan.kernel.parameters)": "the number of arguments",
            "dtype not in plan.packing": "the dtype of T",
            "0 in grid": "an empty grid", "value is None": "a null pointer",
            "not isinstance(value, arrays)": "arrays", "value.dtype != expected": "the dtype",
            "not isinstance(value, _NUMBERS)": "numbers",
            "isinstance(value, np.generic) or not value.flags.c_contiguous": "the order in memory",
        }.items()),
    *(("launcher.py", check, "False", "Launcher", f"no check of {what}")
        for check, what in {
            "math.prod(block) > 1024": "the threads of a block",
            "grid[0] >= 2**31": "the first axis of a grid",
            "max(grid[1:]) >= 2**16": "the other axes of a grid",
        }.items()),
]  # fmt: skip
