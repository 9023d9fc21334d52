"""From torch networks and public checkpoints to ONNX files and bundles."""
