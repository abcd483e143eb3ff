"""PyTorch: the adapter and its loader."""
