"""DECIDE: records and rules. Data in, decision out; no clock, no SQL, no HTTP, no pydantic."""
