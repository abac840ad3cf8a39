"""The data sets that come with batchlab."""

from batchlab.datasets.embedded import load_mnist, load_moby_dick

__all__ = ["load_mnist", "load_moby_dick"]
