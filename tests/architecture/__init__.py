"""Tests of the tree itself: who imports whom, sizes, the map, the error tables."""
