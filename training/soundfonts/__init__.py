"""Playing written for each instrument, and rendered through General MIDI soundfonts."""
