"""The screen in a browser: a server on which each tab runs this program once."""
