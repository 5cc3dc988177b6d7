"""Draws how the two chances agree with outcomes: predicted against observed, one dot a bin."""
from PIL import Image, ImageDraw

SIDE, EDGE, BINS = 420, 50, 15


def _bins(p, y):
    at = (p * BINS).astype(int).clip(0, BINS - 1)
    return [(float(p[at == b].mean()), float(y[at == b].mean()), int((at == b).sum())) for b in range(BINS) if (at == b).any()]


def calibration(path, panels):
    """`panels` is {title: (predicted, observed)}; dots grow with the number of rows in a bin."""
    step = SIDE + 2 * EDGE
    image = Image.new("RGB", (step * len(panels), step), "white")
    draw = ImageDraw.Draw(image)
    for n, (title, (p, y)) in enumerate(panels.items()):
        x0, y0 = n * step + EDGE, EDGE + SIDE
        place = lambda a, b: (x0 + a * SIDE, y0 - b * SIDE)
        draw.rectangle([*place(0, 1), *place(1, 0)], outline="black")
        draw.line([place(0, 0), place(1, 1)], fill="gray")
        draw.text((x0, EDGE - 24), title, fill="black")
        draw.text((x0 + SIDE / 2 - 30, y0 + 24), "predicted", fill="black")
        draw.text((x0 + 6, EDGE + 6), "observed", fill="black")
        for tick in (0, 0.25, 0.5, 0.75, 1):
            draw.text((place(tick, 0)[0] - 8, y0 + 8), f"{tick:g}", fill="black")
            draw.text((x0 - 28, place(0, tick)[1] - 6), f"{tick:g}", fill="black")
        for a, b, count in _bins(p, y):
            r = 2 + 12 * (count / len(p)) ** 0.5
            cx, cy = place(a, b)
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill="#2b6cb0")
    image.save(path)
