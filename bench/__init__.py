"""How fast, how frugal and how exact the engine is, next to the loop it replaces. `python -m bench`."""
