"""Deposits of many labs become one cohort of counts on the store: plan, then ingest."""
