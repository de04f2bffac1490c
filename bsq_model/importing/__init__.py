"""Imports published weights without executing anything in them."""
