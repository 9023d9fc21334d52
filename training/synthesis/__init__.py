"""Synthesis of training audio: phrases, soundfont instruments, scenes, and recording channels."""
