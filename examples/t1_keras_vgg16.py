"""T1: Keras VGG16: gradient, DeconvNet, and Grad-CAM on block5_conv3, each beside and over the picture.

The original differentiated the softmax instead of the class score, pooled the gradient over the batch too, divided by a
maximum that may be zero, and its "DeconvNet" was a plain gradient. Run it with [IMAGE] [FOLDER] [WEIGHTS]; the weights
"random" need no network.
"""

import sys

from skimage.data import chelsea

import sightline as sl


def main(image=None, folder="sightline-out/t1", weights=None, model="keras:VGG16", layer="block5_conv3", **options):
    image, model = chelsea() if image is None else image, sl.load(model, weights=weights, **options)
    found = [*sl.explain(model, image, method=["gradient", "deconvnet"]), sl.explain(model, image, layer=layer)]
    print(f"{found[0].target[0]['label']}:", *(e.save(f"{folder}/{e.method}.png") for e in found))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
