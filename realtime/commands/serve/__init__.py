"""--serve: one run, shown on a web page to any number of viewers, and sent as JSON lines to programs."""
