"""Finds exact and near duplicates of clips, within a dataset and across datasets."""
