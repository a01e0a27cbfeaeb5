"""Provide helpers that need no nodes: texts, colours, files, the base class of parameter nodes."""
