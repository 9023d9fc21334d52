"""From a source of sound to screen and outputs: capture, analysis, user interface, commands."""
