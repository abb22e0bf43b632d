"""Rates of events per exposure (turnover, incidents, complaints, absence), and how they differ between cohorts."""

from implstats.rates.compare import RateComparison, compare_rates

__all__ = ["RateComparison", "compare_rates"]
