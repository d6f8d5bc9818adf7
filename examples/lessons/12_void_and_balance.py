"""12. Void pixels, rare classes, and a score that says 3.5 %

In Pascal VOC a thin line around every object is labelled 255, void: where it ends is hard to say.
It must not count, in the loss or in the scores. In the loss that is easy to check: the gradient
at a void pixel is exactly 0, and the mean is over the pixels that are left.

Most of the rest is background. So a network that says background everywhere has a high pixel
accuracy, and many trainings get stuck there. Mean IU is made to see it: every class counts alike,
however rare it is. VOC has 21 classes, and about three quarters of its pixels are background: 0.73
to 0.75, divided by 21, is 3.5 or 3.6 %, the number that so many users have asked about. It means
that nothing has been learned.

Weights make rare classes count more in the loss: here those of SegNet, the median of the classes'
frequencies divided by each.

Change one line: DIAMETER, to (16.0, 24.0). Which of the four scores sees that nothing is learned?
(f.w. IU weighs each class by its pixels.)

Source: Long, Shelhamer, Darrell (2015), section 5 (the four scores); Badrinarayanan et al.,
"SegNet" (2017), section IV; Eigen, Fergus (2015), section 6.3.2.
Explorer: http://127.0.0.1:8642/#learning
"""

# %% Scenes, and what they are made of
import numpy as np

import tinyfcn
from tinyfcn import functional as F
from tinyfcn.data import SYNTHETIC_CLASSES, VOID, SceneStyle, draw_scene
from tinyfcn.lessons import Lesson, bars, grid, sheet
from tinyfcn.metrics import SCORES, ConfusionMatrix
from tinyfcn.training.class_weights import median_frequency_weights

lesson = Lesson(__doc__)
DIAMETER, CLASSES = (24.0, 64.0), len(SYNTHETIC_CLASSES)

rng = np.random.default_rng(0)
style = SceneStyle(diameter=DIAMETER)
masks = np.stack([draw_scene(rng, style).mask for _ in range(40)])
share = {name: (masks == i).mean() for i, name in enumerate(SYNTHETIC_CLASSES)}
print(f"void {100 * (masks == VOID).mean():.1f} %, background {100 * share['background']:.1f} %")

# %% A network that has learned nothing: background everywhere
matrix = ConfusionMatrix(CLASSES)
matrix.update(np.zeros_like(masks), masks)
scores = matrix.scores()
for attribute, name in SCORES.items():
    print(f"background everywhere: {name:14} {getattr(scores, attribute):.3f}")

# %% The gradient of the loss: void pixels have none, and rare classes get more by weights
truth = np.array([[[0, 0, 255, 1], [0, 255, 1, 1], [0, 0, 255, 255]]])
logits = tinyfcn.tensor(np.zeros((1, 2, 3, 4)), requires_grad=True)
F.cross_entropy(logits, tinyfcn.tensor(truth), ignore_index=VOID).backward()
gradient = logits.grad.numpy()[0, 1].copy()
weights = median_frequency_weights(list(masks), CLASSES)
print(f"\ngradient of the score of class 1, 3 x 4 pixels, void at {(truth == VOID).sum()} of them")
print(gradient.round(4))
print("\nweights by median frequency:")
for name in ("background", SYNTHETIC_CLASSES[int(weights[1:].argmax()) + 1]):
    print(f"  {name:12} {weights[SYNTHETIC_CLASSES.index(name)]:.2f}")

# %% Scores of nothing, and where gradients are
shown = np.where(truth[0] == VOID, np.nan, truth[0])
lesson.show(sheet(
    grid(shown, "truth, void left empty", 80, "g", marks=truth[0] == VOID),
    grid(gradient, "gradient of the score of class 1", 80, ".4f", marks=truth[0] == VOID),
    bars({name: getattr(scores, a) for a, name in SCORES.items()}, "Background everywhere", ".3f"),
))  # fmt: skip

# %%
lesson.ask("""An image of 4 pixels is labelled 0, 0, 0 and void, and a network of two classes gives
class 0 the probability 3/4 everywhere. How large is the mean loss, and what would
it be if void were class 1?""")
