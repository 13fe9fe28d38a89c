"""From a model to kernels: channels last, layers as packed kernels, weights packed."""
