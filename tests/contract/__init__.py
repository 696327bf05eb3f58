"""What stands between us and others: one suite per contract."""
