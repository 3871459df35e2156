"""Tests of r3lbench; importable, so that tests share the toy environment and other processes can make it."""
