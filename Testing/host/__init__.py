"""A stand-in for the Slicer application: real MRML, widgets of PySide6 that behave as PythonQt's do.

`host.host.startHost` starts it; a scripted module then imports `qt`, `ctk` and `slicer` as it does in Slicer. Nothing
here imports PySide6 or slicer before that, so that `host.requirements` can say what is missing.
"""
