"""The models, written from scratch on PyTorch."""
