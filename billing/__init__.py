"""Subscription billing on i'mport billing keys."""
