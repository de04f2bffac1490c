"""What commands report: audits, evaluations, estimates, exports, status."""
