"""Define what can be trained: the semantic network, pdd-net, and the networks that predict a displacement field."""
