"""Pictures that do not mislead, from arrays alone."""

from sightline.pictures.bar import bar, legend
from sightline.pictures.colour import Scale, colourise, scale_of
from sightline.pictures.figure import boxed, figure, plate
from sightline.pictures.grid import Row, grid
from sightline.pictures.lines import lines
from sightline.pictures.overlay import overlay, smooth
from sightline.pictures.save import read_metadata, save_png, write_whole
from sightline.pictures.words import words

__all__ = [
    "Row",
    "Scale",
    "bar",
    "boxed",
    "colourise",
    "figure",
    "grid",
    "legend",
    "lines",
    "overlay",
    "plate",
    "read_metadata",
    "save_png",
    "scale_of",
    "smooth",
    "words",
    "write_whole",
]
