"""From aggregated results to tables, macros, figures and the document."""
