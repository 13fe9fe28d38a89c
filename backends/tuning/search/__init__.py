"""Where candidates come from: templates, sketches, transfer, and the cost model."""
