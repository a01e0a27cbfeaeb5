"""The behaviour of the widgets in Resources/UI, a class for each section of the panel."""
