"""Nets in other forms: model files, ONNX and C files, scikit-learn's and PyTorch's objects.

`files` writes and reads the package's own model files; `model` is a net as plain steps, which
`onnx`, `c` and `sklearn` start from; `torch` goes layer by layer.  Of the package this imports
nets, layers and what those import; a net knows nothing of it.
"""
