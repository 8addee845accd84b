"""From trial records to reported quantities with intervals."""
