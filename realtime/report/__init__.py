"""Pictures, reports and labels of an earlier run, from its JSON lines."""
