"""Define what can be trained: the semantic network and pdd-net."""
