"""The two themes: enough contrast to read, and distinct colours where a terminal has only 256."""

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.color import Color

from instrec_live.realtime.tui.base_app import DARK, LIGHT


def contrast(one, other):
    """The WCAG contrast ratio of two colours."""
    light, dark = sorted((luminance(Color.parse(one)), luminance(Color.parse(other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_text_can_be_read(theme):
    for ground in (theme.background, theme.panel):
        assert contrast(theme.foreground, ground) >= 7
        assert contrast(theme.variables["foreground-muted"], ground) >= 4.5
        assert contrast(theme.accent, ground) >= 4.5
        assert contrast(theme.error, ground) >= 4.5
        assert contrast(theme.primary, ground) >= 4.5
    assert contrast(theme.success, theme.background) >= 4.5


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_bar_track_and_background_have_enough_contrast(theme):
    assert contrast(theme.accent, theme.surface) >= 3
    assert contrast(theme.secondary, theme.surface) >= 2
    few = [
        RichColor.parse(color).downgrade(ColorSystem.EIGHT_BIT).number
        for color in (theme.background, theme.surface, theme.secondary, theme.accent)
    ]
    assert len(set(few)) == 4
