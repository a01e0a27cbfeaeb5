"""Drive the widgets in Resources/UI, with a class for each section of the panel."""
