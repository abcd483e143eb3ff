"""Backward rules: what an operation's backward pass is when it is not the derivative."""

from __future__ import annotations

from sightline.rules.relu import deconv as deconv
from sightline.rules.relu import guided as guided
