"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from billing.demo.story import Story
from billing.demo.tally import Tally


def written(tally: Tally, story: Story) -> str:
    """Return the whole page."""
    return f"<!doctype html><title>{tally.seed}</title>{len(story.moments)}"
