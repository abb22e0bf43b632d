"""The numerical engines: arrays in, frozen records out; numpy and scipy only."""
