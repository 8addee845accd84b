"""How measurements are taken: alternation, environment, contamination, exclusivity, progress, declared sources."""
