"""The vocabulary that every other folder shares: Structs and errors. No IO, no clock, no randomness."""
