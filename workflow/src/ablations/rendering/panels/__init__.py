"""One panel of a figure each: functions that draw a study's result into given axes."""
