"""Looking into the plan: which operations a step runs, and what each of them takes."""

from __future__ import annotations

from ._listing import Listing, Operation, plan
from ._profile import Profile, Timing, profile
from ._summary import describe

__all__ = ["Listing", "Operation", "Profile", "Timing", "describe", "plan", "profile"]
