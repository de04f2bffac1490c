"""Formats of reports: audits, evaluations, estimates, exports, status."""
