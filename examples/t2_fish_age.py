"""T2: a ConvNet reads a fish's age off its scale. What does it look at, when it is right and when it is wrong?

The original explained the mean of all ages instead of the predicted one, blurred the blue channel of a coloured picture
instead of the map, changed the model, and gave the colours no numbers. Run it with [IMAGE] [FOLDER].
"""

import sys

import sightline as sl
from sightline.worlds import find_world

WORLD, RIGHT, WRONG = "fish-scales/rings", (7, 106), (415, 645)  # seeds of pictures


def main(image=None, folder="sightline-out/t2"):
    images = [find_world(WORLD).draw(seed).image for seed in RIGHT + WRONG] if image is None else [image]
    found = sl.explain(f"world:{WORLD}", images, method=["gradient", "grad-cam"], smooth=1.5)
    for i, target in enumerate(found[0].target):
        print(f"{target['label']}:", *(e.save(f"{folder}/{i}-{e.method}.png", i) for e in found))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
