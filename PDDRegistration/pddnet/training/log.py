"""Log loss, Dice and validation by iteration in log.csv, and plot them (`TrainingLog`)."""

from __future__ import annotations

import csv
from pathlib import Path

from .plot import course

COLUMNS = ("iteration", "loss", "dice", "validation")
NAN = float("nan")


class TrainingLog:
    """Log of a training in its folder. A row holds loss and Dice, or a validation; the other values are nan."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.csv"
        self.plot_path = folder / "log.svg"

    def add(self, iteration: int, *, loss: float = NAN, dice: float = NAN, validation: float = NAN) -> None:
        """Append a row."""
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerow([iteration, f"{loss:.4f}", f"{dice:.4f}", f"{validation:.4f}"])

    def rows(self) -> list[dict[str, str]]:
        """Read all rows; return none where there is no log."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def drop_after(self, iteration: int) -> None:
        """Drop the rows that a kill invalidated: those after the checkpoint's iteration, all where that is 0."""
        rows = [row for row in self.rows() if int(row["iteration"]) <= iteration]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def draw(self) -> None:
        """Plot the log as log.svg in the same folder."""
        rows = self.rows()
        curves = {name: [(float(row["iteration"]), float(row[name])) for row in rows] for name in COLUMNS[1:]}
        self.plot_path.write_text(course(curves, "Training: loss, Dice, Dice on validation scans"))
