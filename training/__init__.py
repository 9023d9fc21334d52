"""The offline work: data, scenes, recipes, evaluation."""
