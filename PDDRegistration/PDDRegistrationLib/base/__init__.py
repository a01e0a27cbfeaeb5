"""Helpers without nodes: texts, colours, files, the base of parameter nodes."""
