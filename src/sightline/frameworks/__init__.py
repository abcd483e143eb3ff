"""One adapter and loader for each framework; a framework is imported here only, and only when it appears."""
