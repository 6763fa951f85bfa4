"""Images and two labels each, from a pipeline file to batches of uint8 tensors."""
