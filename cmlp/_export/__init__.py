"""Nets in other programs' forms: ONNX and C files, scikit-learn's and PyTorch's objects."""
