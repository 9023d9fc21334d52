"""Generated scores for each instrument, rendered through General MIDI soundfonts or synthesiser patches."""
