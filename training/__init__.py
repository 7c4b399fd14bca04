"""Losses, metrics, Lightning modules and evaluation of defect networks."""
