"""Figures from the tables, a module each; `style` holds what they share."""
