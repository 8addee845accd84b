"""Where every number comes from, and whether it may still be believed."""
