"""T4: PyTorch ResNet-50: resize to 256, crop 224, normalise; the gradient on the pixels of the original picture.

The original left gradients on the user's parameters, saved an unscaled tensor as a picture, and forgot where the crop
had been. Run it with [IMAGE] [FOLDER] [WEIGHTS]; the weights "random" need no network.
"""

import sys

from skimage.data import chelsea

import sightline as sl

INPUT = "resize=256,crop=224,mean=0.485/0.456/0.406,std=0.229/0.224/0.225"


def main(image=None, folder="sightline-out/t4", weights=None, model="torchvision:resnet50", preprocess=INPUT):
    image = chelsea() if image is None else image
    e = sl.explain(model, image, method="gradient", weights=weights, preprocess=preprocess)
    print(f"{e.target[0]['label']}:", e.save(f"{folder}/saliency.png"), e.save(f"{folder}/saliency.npz"))
    return e  # e.on_original() is the map on the picture's own pixels


if __name__ == "__main__":
    main(*sys.argv[1:])
