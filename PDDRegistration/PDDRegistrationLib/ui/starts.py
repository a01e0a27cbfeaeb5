"""Say why something is not started, in the same words in every section (`BUSY`)."""

from __future__ import annotations

from slicer.i18n import tr as _

BUSY = _("Something else is being computed; start when it has ended.")
