"""The modules that a scripted module imports by name: `qt`, `ctk` and `SampleData`."""
