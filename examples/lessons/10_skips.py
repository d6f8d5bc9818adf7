"""10. What skips can bring: a bound that needs no training

The scores of FCN-32s are 32 pixels apart, and are interpolated in between. However well it has
learned, it cannot draw what is smaller. How much does that cost? Take the truth itself, make it 32
times smaller and larger again, and score it by its mean IU, the mean over all classes of
intersection over union: the paper takes that as the bound of a stride.

Its table for Pascal VOC says 86.1 for 32, 92.8 for 16, 96.4 for 8, and the surprise is how high
that is. FCN-32s reached 59.4, so coarseness is not the first of its troubles. The skips, a
1 x 1 convolution each on pool4 and pool3, halve the stride twice, for hardly any parameters.

How high the bound is depends on the objects. These scenes have shapes of 48 to 96 pixels, VOC's are
larger.

Change one line: DIAMETER, to (24.0, 48.0) or (128.0, 200.0). What is the bound at 32 now?

Source: Long, Shelhamer, Darrell (2015), section 4.2 and, in the version of arXiv:1411.4038v2,
appendix A.
Explorer: http://127.0.0.1:8642/#network?view=skips
"""

# %% Scenes, and their true masks
import numpy as np

from tinyfcn import backend, models, nn, tensor
from tinyfcn import functional as F
from tinyfcn.data import SYNTHETIC_CLASSES, SceneStyle, class_palette, draw_scene, index_to_rgb
from tinyfcn.lessons import Lesson, bars, photo, sheet
from tinyfcn.metrics import ConfusionMatrix

lesson = Lesson(__doc__)
SIZE, DIAMETER, SCENES = 256, (48.0, 96.0), 20
CLASSES = len(SYNTHETIC_CLASSES)

rng = np.random.default_rng(0)
style = SceneStyle(size=SIZE, diameter=DIAMETER)
scenes = [draw_scene(rng, style) for _ in range(SCENES)]
truth = np.stack([scene.mask for scene in scenes])
scores = np.stack([truth == label for label in range(CLASSES)], 1).astype(np.float32)


# %% The truth at a stride
def at_stride(factor):
    smaller = F.avg_pool2d(tensor(scores), factor)
    return F.interpolate(smaller, scale_factor=factor, mode="bilinear").numpy().argmax(1)


bound, seen = {}, {}
for factor in (32, 16, 8, 4):
    seen[factor] = at_stride(factor)
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(seen[factor], truth)
    bound[factor] = matrix.scores().mean_iu
    print(f"stride {factor:2}: mean IU of the truth itself {bound[factor]:.3f}")

# %% What the skips cost
with backend.using("meta"):
    model = models.fcn8s()
skips = sum(map(nn.count_parameters, (model.score_pool4, model.score_pool3)))
total = nn.count_parameters(model)
print(f"\nskips of FCN-8s: {skips:,} of {total:,} parameters, {100 * skips / total:.3f} %")

# %% A scene, its truth, and the truth at each stride
i = max(range(SCENES), key=lambda i: len(np.unique(truth[i])))  # with the most classes
colours = class_palette(SYNTHETIC_CLASSES)
masks = {"truth": truth[i], **{f"at stride {n}": seen[n][i] for n in seen}}
shown = [photo(index_to_rgb(mask, colours), 240, name) for name, mask in masks.items()]
names = {f"stride {n}": bound[n] for n in bound}
lesson.show(
    sheet(
        photo(scenes[i].image, 240, "image"),
        *shown,
        bars(names, "Mean IU of the truth at a stride", ".3f"),
    )
)

# %%
lesson.ask("""Shrunk 256 times, the truth of these scenes is one vector of shares for a whole image.
What is then predicted for its pixels, and what is the mean IU?""")
