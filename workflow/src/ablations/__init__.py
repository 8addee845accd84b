"""The four ablation studies of Djinn: measuring, aggregating, rendering."""
