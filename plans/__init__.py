"""What can be bought: money, calendar, prices, plan files. Knows nothing of billing."""
