"""T3: Keras VGG16: the picture and its saliency map side by side, with a colour bar.

The original skipped `preprocess_input`, squashed the picture's aspect ratio, explained the softmax's probability instead
of the score of the paper that it cites, and passed the picture twice. Run it with [IMAGE] [FOLDER] [WEIGHTS]; the
weights "random" need no network.
"""

import sys

from skimage.data import chelsea

import sightline as sl


def main(image=None, folder="sightline-out/t3", weights=None, model="keras:VGG16", **options):
    e = sl.explain(model, chelsea() if image is None else image, method="gradient", weights=weights, **options)
    print(*(f"{guess['probability']:.2f} {guess['label']}" for guess in e.top[0]), sep="\n")
    print(e.save(f"{folder}/saliency.png"))
    return e


if __name__ == "__main__":
    main(*sys.argv[1:])
