"""Stand-ins for widgets of CTK and Slicer. Their own state is declared on the class: the attribute guard demands it."""
