"""Tests of corduroy.client."""
