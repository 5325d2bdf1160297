"""Plugins for fastmlp, found by name through entry points; nothing here has to be imported."""
