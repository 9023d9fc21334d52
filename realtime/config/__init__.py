"""The settings file, read and printed, and the shell's completion of the options."""
