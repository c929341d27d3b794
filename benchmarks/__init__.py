"""Measurements that are run by hand, each against what it is to be compared with."""
