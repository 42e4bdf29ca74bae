"""Charts as SVG: bars and lines, readable on light and dark pages."""

import math
from html import escape

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .quiet { fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .one { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .a { fill: #0969da } .b { fill: #bf8700 }
  .line.a { fill: none; stroke: #0969da; stroke-width: 2 } .line.b { fill: none; stroke: #bf8700; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d } .one { stroke: #9198a1 }
    .a { fill: #4493f8 } .b { fill: #d29922 } .line.a { stroke: #4493f8 } .line.b { stroke: #d29922 }
  }
"""
WIDTH = 760
CLASSES = ("a", "b")


def svg(height, title, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    name = f'<title>{escape(title)}</title><text class="title" x="8" y="20">{escape(title)}</text>'
    return "\n".join([head, f"<style>{STYLE}</style>", name, *parts, "</svg>"]) + "\n"


def legend(names):
    parts, x = [], WIDTH - 8
    for css, name in reversed(list(zip(CLASSES, names))):
        x -= 7 * len(name) + 26
        parts.append(
            f'<rect class="{css}" x="{x}" y="10" width="11" height="11"/>'
            f'<text x="{x + 16}" y="20">{escape(name)}</text>'
        )
    return parts


def number(x):
    """Three digits at most."""
    if x >= 1000:
        return f"{x / 1000:.3g}k"
    return f"{x:.3g}" if x < 100 else f"{x:.0f}"


def bars(title, names, rows, unit=""):
    """Horizontal bars: for each (label, values) one for each name, with a line at 1."""
    left, right, bar, gap = 200, 60, 13, 10
    most = max(value for _, values in rows for value in values if value is not None)
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if most / step <= 10)
    scale = (WIDTH - left - right) / (math.ceil(most / step) * step)
    height = 44 + len(rows) * (len(names) * bar + gap) + 20
    parts = legend(names) if len(names) > 1 else []
    at = 0
    while at * scale <= WIDTH - left - right + 0.5:
        x = round(left + at * scale, 1)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="36" y2="{height - 20}"/>')
        parts.append(f'<text class="quiet" x="{x}" y="{height - 5}" text-anchor="middle">{at:g}{unit}</text>')
        at += step
    y = 40
    for label, values in rows:
        middle = y + len(names) * bar / 2 + 4
        parts.append(f'<text x="{left - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>')
        for css, value in zip(CLASSES, values):
            if value is not None:
                width = round(value * scale, 1)
                parts.append(f'<rect class="{css}" x="{left}" y="{y + 1}" width="{width}" height="{bar - 2}"/>')
                parts.append(f'<text class="quiet" x="{left + width + 5}" y="{y + 11}">{value:.2f}{unit}</text>')
            y += bar
        y += gap
    x = round(left + scale, 1)
    parts.append(f'<line class="one" x1="{x}" x2="{x}" y1="36" y2="{height - 20}"/>')
    return svg(height, title, parts)


def lines(title, names, series, xs):
    """A line for each name through its points (x, y), both axes logarithmic; `xs` are the ticks, (x, label)."""
    left, right, top, bottom, height = 60, 30, 40, 40, 340
    ys = [y for points in series for _, y in points]
    low, high = math.log10(min(ys)), math.log10(max(ys))
    low, high = low - 0.05 * max(high - low, 0.3), high + 0.05 * max(high - low, 0.3)
    first, last = math.log(xs[0][0]), math.log(xs[-1][0])

    def place(x, y):
        across = (math.log(x) - first) / (last - first) if last > first else 0.5
        up = (math.log10(y) - low) / (high - low)
        return round(left + across * (WIDTH - left - right), 1), round(
            height - bottom - up * (height - top - bottom), 1
        )

    parts = legend(names)
    for decade in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            tick = digit * 10.0**decade
            if low <= math.log10(tick) <= high:
                _, y = place(xs[0][0], tick)
                parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y}" y2="{y}"/>')
                parts.append(f'<text class="quiet" x="{left - 6}" y="{y + 4}" text-anchor="end">{number(tick)}</text>')
    for x, label in xs:
        at, _ = place(x, 10.0**low)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{top}" y2="{height - bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{at}" y="{height - bottom + 18}" text-anchor="middle">{escape(label)}</text>'
        )
    for css, points in zip(CLASSES, series):
        places = [place(x, y) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline class="line {css}" points="{path}"/>')
        for (x, y), (_, value) in zip(places, points):
            parts.append(f'<circle class="{css}" cx="{x}" cy="{y}" r="3.5"/>')
            above = -8 if css == "a" else 17
            parts.append(f'<text class="quiet" x="{x}" y="{y + above}" text-anchor="middle">{number(value)}</text>')
    return svg(height, title, parts)
