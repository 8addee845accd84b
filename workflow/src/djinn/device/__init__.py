"""The torch device `remote_accelerator`: the only place that registers kernels with torch."""
