"""K-means segmentation: two clusters in colour and position, the person and the background.

Nothing is trained. After "Portrait Segmentation and Background Stylization" (Zhang, Zeng, Wang,
Yin) and Dhanachandra et al., Image Segmentation using K-means Clustering (Procedia CS 54, 2015).
"""

import cv2
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from portrait.io.images import resize, shrink

# The longer side of the picture that is clustered: more pixels do not change the means.
_SIDE = 128
# The weight of each feature: d^2(v, u) = sum_i w_i^2 (v_i - u_i)^2. CIELAB's L, a, b are divided by
# 100, x and y by the longer side. The best of fifteen choices on 40 training portraits.
WEIGHTS = {"L": 1.0, "a": 2.5, "b": 2.5, "x": 0.4, "y": 0.2}
_STARTS = 5
_NEIGHBOURS = 7  # side of the square in which pixels vote
_VOTES = 3


def matte(image: np.ndarray) -> np.ndarray:
    """Estimates the alpha of a photograph.

    K-means is run from five k-means++ starts with a fixed seed, and the best result is kept. Then
    each pixel takes the majority label of the 7 x 7 pixels around it, three times. The person is
    the cluster that is closer to the middle: see `person_cluster`.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (H, W), 0..1. Only the enlargement of the small mask makes its edges soft.
    """
    clusters = cluster(shrink(image, _SIDE))
    person = smooth(clusters == person_cluster(clusters))
    return resize(person.astype(np.float32), image.shape[:2]).clip(0, 1)


def features(image: np.ndarray) -> np.ndarray:
    """The weighted features of each pixel: uint8 (H, W, 3) to float32 (H, W, 5)."""
    height, width = image.shape[:2]
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    return np.dstack([lab, x, y]) * np.array(list(WEIGHTS.values()), np.float32)


def cluster(image: np.ndarray) -> np.ndarray:
    """Clusters the pixels of uint8 (H, W, 3): integers 0 and 1, (H, W)."""
    values = features(image)
    pixels = values.reshape(-1, values.shape[2])
    if len(np.unique(pixels, axis=0)) < 2:  # a single pixel
        return np.zeros(image.shape[:2], int)
    means = KMeans(2, n_init=_STARTS, random_state=0)
    # With so few pixels, several threads cost more time than they save.
    with threadpool_limits(1):
        return means.fit_predict(pixels).reshape(image.shape[:2])


def person_cluster(clusters: np.ndarray) -> int:
    """Returns the cluster, 0 or 1, whose pixels are closer to the place of a portrait's person.

    It is the cluster with the larger mean of exp(-((x - 0.5) / 0.25)^2 - ((y - 0.6) / 0.3)^2),
    where x and y are fractions of the width and height.
    """
    height, width = clusters.shape
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width]).reshape(2, 1, 1)
    near = np.exp(-(((x - 0.5) / 0.25) ** 2) - ((y - 0.6) / 0.3) ** 2)
    means = [near[clusters == index].mean() if (clusters == index).any() else 0 for index in (0, 1)]
    return int(np.argmax(means))


def smooth(mask: np.ndarray) -> np.ndarray:
    """Gives each pixel of a boolean mask (H, W) the majority label of its neighbours."""
    for _ in range(_VOTES):
        votes = cv2.blur(mask.astype(np.float32), (_NEIGHBOURS, _NEIGHBOURS))
        mask = votes > 0.5
    return mask
