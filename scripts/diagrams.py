"""Diagrams: boxes, arrows that end at their edges, tokens and stacks; all in tenths of an inch."""

import math
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from utils.plots.style import COLORS

_STROKE = 1.2  # points, of every line
_AIR = 0.3  # between the end of an arrow and the edge of a box
_MUTED = "#6E6E6E"  # of captions
_CHARACTER = 0.67  # width of a letter of the monospaced face at 8 points


def tint(color, share=0.16):
    """A colour of ``COLORS`` (or any other) mixed with white: 0 is white, 1 the colour itself."""
    return to_hex([1 - share * (1 - part) for part in to_rgb(COLORS.get(color, color))])


@dataclass(frozen=True)
class Box:
    """A rectangle by its centre (x, y) and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self):
        return self.x - self.width / 2

    @property
    def right(self):
        return self.x + self.width / 2

    @property
    def bottom(self):
        return self.y - self.height / 2

    @property
    def top(self):
        return self.y + self.height / 2

    def edge(self, x, y):
        """The point on the edge where an arrow from or to (x, y) ends, straight if it can be."""
        across, up = (x - self.x) / self.width, (y - self.y) / self.height
        if abs(across) > abs(up):
            inside = self.bottom < y < self.top
            return (self.right if across > 0 else self.left), (y if inside else self.y)
        inside = self.left < x < self.right
        return (x if inside else self.x), (self.top if up > 0 else self.bottom)


class Diagram:
    """A white page to draw on; x runs to the right and y upwards, both in tenths of an inch.

    Args:
        width, height: of the page.
        title: what the picture shows, in a sentence.

    Attributes:
        figure: the ``Figure``.
        boxes: every ``Box``; frames around groups are not among them.
        arrows: the points of every arrow.
    """

    def __init__(self, width, height, title):
        self.figure = plt.figure(figsize=(width / 10, height / 10), layout="constrained")
        self.figure.set_layout_engine("none")  # a figure made without one gets one when it is saved
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()
        self.boxes, self.arrows = [], []
        self.label(1, height - 2, title, size=10, weight="bold", ha="left")

    def label(self, x, y, text, size=8, color="text", **style):
        """Write lines of text with their middle at (x, y).

        Args:
            x, y: the middle; with ``ha="left"``, x is the left end.
            text: one or more lines.
            size: in points.
            color: a role in ``COLORS``, or "muted" for captions.
            style: what else matplotlib should know.
        """
        style = {"ha": "center", "zorder": 4, "color": COLORS.get(color, _MUTED), "size": size, **style}
        lines = text.split("\n")
        for number, line in enumerate(lines):
            # Lines stand on their baselines, so that words with and without descenders are level.
            above = ((len(lines) - 1) / 2 - number) * 0.21 * size
            self.axes.text(x, y + above - 0.05 * size, line, va="baseline", **style)

    def box(self, x, y, width, height, text="", color="light", fill=0.16, dashed=False, **style):
        """Draw a box with round corners and a text in it.

        Args:
            x, y: its centre.
            width, height: its size.
            text: what stands in it.
            color: a role in ``COLORS``.
            fill: how much of the colour the inside has, from 0 (white) to 1.
            dashed: whether the border is broken.
            style: of the text.

        Returns:
            The ``Box``, for arrows.
        """
        box = Box(x, y, width, height)
        self._patch(box, 0.7, facecolor=tint(color, fill), edgecolor=COLORS[color], dashed=dashed, zorder=3)
        if text:
            self.label(x, y, text, **style)
        self.boxes.append(box)
        return box

    def frame(self, left, bottom, right, top, color="light", layers=1):
        """Draw a pale ground for a group; ``layers`` of them make a stack."""
        pale = 0.14 if color == "light" else 0.07
        for layer in reversed(range(layers)):
            shift = 0.9 * layer
            box = Box((left + right) / 2 + shift, (bottom + top) / 2 + shift, right - left, top - bottom)
            edge = "white" if layers > 1 else "none"
            self._patch(box, 1.2, facecolor=tint(color, pale + 0.06 * layer), edgecolor=edge, zorder=1)

    def token(self, x, y, text, color="light"):
        """Write a token in the monospaced face on a pale ground, and return its ``Box``."""
        box = Box(x, y, len(text) * _CHARACTER + 1.2, 2.4)
        self._patch(box, 0.5, facecolor=tint(color, 0.45), edgecolor="none", zorder=3)
        self.label(x, y, text, family="monospace")
        self.boxes.append(box)
        return box

    def stack(self, x, y, count, width, height, color="light", shift=(0.0, 1.0), fill=0.2):
        """Draw ``count`` equal cells, each moved by ``shift`` from the one before, centred at (x, y).

        Cells moved by their own height make a vector; cells moved by less make a pile of cards.

        Returns:
            The ``Box`` around all of them.
        """
        across, up = shift[0] * (count - 1), shift[1] * (count - 1)
        for number in range(count):
            place = number - (count - 1) / 2
            cell = Box(x + place * shift[0], y + place * shift[1], width, height)
            self._patch(
                cell, 0.25, facecolor=tint(color, fill), edgecolor=COLORS[color], zorder=3.5 - number / 100
            )
        box = Box(x, y, width + abs(across), height + abs(up))
        self.boxes.append(box)
        return box

    def arrow(self, *stops, color="text", weight=1.0, both=False, head=True, width=_STROKE, dashed=False):
        """Draw an arrow through points and boxes, with round corners.

        Args:
            stops: points (x, y) or boxes; at a box the arrow ends at the edge that faces the next stop.
            color: a role in ``COLORS``.
            weight: opacity, from 0 to 1.
            both: whether there is a head at the start, too.
            head: whether there is a head at the end.
            width: of the line, in points.
            dashed: whether the line is broken.
        """
        points = [self._stop(stops, index) for index in range(len(stops))]
        self.arrows.append(points)
        air = [isinstance(stop, Box) * _AIR for stop in (stops[0], stops[-1])]
        points = [
            _towards(points[0], points[1], air[0]),
            *points[1:-1],
            _towards(points[-1], points[-2], air[1]),
        ]
        vertices, codes = [points[0]], [Path.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            radius = min(1.0, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
            vertices += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        path = Path([*vertices, points[-1]], [*codes, Path.LINETO])
        heads = ("<|" if both else "") + "-" + ("|>" if head else "")
        style = {"arrowstyle": heads, "mutation_scale": 7, "linewidth": width, "joinstyle": "miter"}
        style |= {"linestyle": (0, (2.5, 2)) if dashed else "-", "capstyle": "butt", "alpha": weight}
        self.axes.add_patch(FancyArrowPatch(path=path, color=COLORS[color], zorder=2, **style))

    def _stop(self, stops, index):
        stop = stops[index]
        if not isinstance(stop, Box):
            return stop
        other = stops[index + 1] if index == 0 else stops[index - 1]
        return stop.edge(*((other.x, other.y) if isinstance(other, Box) else other))

    def _patch(self, box, radius, dashed=False, **style):
        shape = f"round,pad=0,rounding_size={radius}"
        style |= {"linewidth": _STROKE, "linestyle": (0, (3, 2)) if dashed else "-"}
        corner = (box.left, box.bottom)
        self.axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=shape, **style))


def _towards(start, end, distance):
    """The point at a distance from ``start`` on the way to ``end``."""
    share = distance / (math.dist(start, end) or 1)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
