"""The program's own two themes: lamplight on slate, and ink on paper. Textual's others work as well."""

from textual.theme import BUILTIN_THEMES, Theme

from instrec_live.models.errors import UsageError
from instrec_live.realtime.options import nearest

# accent: what sounds; secondary: what does not (quite); surface: an unlit bar; panel: the outer lines.
DARK = Theme(
    name="dark",
    primary="#7fb7be",
    secondary="#5b7089",
    accent="#f2b457",
    success="#8fbf7f",
    warning="#f2b457",
    error="#f0746a",
    foreground="#d9d5cc",
    background="#16181c",
    surface="#24272c",
    panel="#1d2024",
    dark=True,
    variables={"foreground-muted": "#8b8f96", "foreground-disabled": "#565d68", "primary-muted": "#2a333d"},
)
LIGHT = Theme(
    name="light",
    primary="#1f6f78",
    secondary="#8ba1b8",
    accent="#a84c06",
    success="#3f7d33",
    warning="#a85b00",
    error="#b3261e",
    foreground="#24262a",
    background="#fbf9f4",
    surface="#e8e6e2",
    panel="#efeeec",
    dark=False,
    variables={"foreground-muted": "#6a6c70", "foreground-disabled": "#a5a59f", "primary-muted": "#dfe6e6"},
)


def known_theme(name: str) -> str:
    """The name, if there is such a theme.

    Raises:
        UsageError: there is none.
    """
    names = sorted({DARK.name, LIGHT.name, *BUILTIN_THEMES})
    if name not in names:
        hint = nearest(name, names)
        raise UsageError(f"no theme is called {name!r}", hint or f"the themes are: {', '.join(names)}")
    return name
