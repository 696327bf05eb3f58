"""`billing demo`: a year of subscribers on SQLite, the sandbox and a clock that is moved by hand.

Nothing here charges, books or decides: every deed is a verb of `Billing`, every number is read
back from the books it left. Start reading at `cast.py` (who subscribes), then `year.py` (how time
passes), `tally.py` (what the books say), and `tables.py`, `story.py`, `report.py` (how it is shown).
"""
