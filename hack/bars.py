"""Pictures of bars, as SVG: a title, and below it a line for each bar."""

BAR, GAP, TOP = 22, 8, 50


def picture(title: str, width: int, lines: list[list[str]]) -> str:
    """`lines`: for each bar its label, its rectangles and its value."""
    height = TOP + len(lines) * (BAR + GAP) + 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            'font-size="13">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text x="12" y="28" font-size="16" fill="#222222">{title}</text>',
            *(part for line in lines for part in line),
            "</svg>",
            "",
        ]
    )


def label(number: int, right: float, text: str) -> str:
    """What a bar is of, up to `right`."""
    return f'<text x="{right}" y="{_top(number) + 16}" text-anchor="end" fill="#222222">{text}</text>'


def bar(number: int, left: float, width: float, colour: str) -> str:
    """The bar's rectangle, or a part of it."""
    return f'<rect x="{left:.1f}" y="{_top(number)}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'


def value(number: int, left: float, text: str) -> str:
    """What it comes to, behind the bar."""
    return f'<text x="{left:.1f}" y="{_top(number) + 16}" fill="#222222">{text}</text>'


def _top(number: int) -> int:
    return TOP + number * (BAR + GAP)
